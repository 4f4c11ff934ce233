"""The nouns everything else is written in; numpy and the standard library only.

config      frozen keyword-only settings that refuse unknown keys
cores       how many there are for us
digest      content hashes of files, arrays and settings
display     grey or colour samples to the picture a person sees, uint8
embedding   Embedding (unit rows) and SpaceId (the space they live in)
errors      one tree of errors, each with a code, an exit code and a remedy
protocols   what an Encoder is
record      Image and the answers a file can get
result      Hit, Prediction, IngestReport: what search, classify and index return
"""
