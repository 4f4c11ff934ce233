"""The nouns everything else is written in; numpy and the standard library only.

config      frozen keyword-only settings that refuse unknown keys
cores       how many there are for us
digest      content hashes of files, arrays and settings
display     grey or colour samples to the picture a person sees, uint8
embedding   Embedding (unit rows) and SpaceId (the space they live in)
errors      one tree of errors, each with a code, an exit code and a remedy
finding     what is said of a concept: positive, negative, uncertain, unmentioned
pooling     many unit rows to one: mean, max, attention
protocols   what an Encoder is
record      Image and the answers a file can get
report      Report: sections and sentences of a text, and what of it may be searched
result      Hit, Prediction, IngestReport: what search, classify and index return
windowing   the window a caller asks for: a preset, numbers, three for colour, the file's own
"""
