"""Training: where packs, towers and objectives meet.

config        every choice of a run
facts         what is known of a picture, what a caption asserts, and which pairs that makes true
packs         the open rows of the starter's data packs
phrases       words for template captions
class_phrases words for the classes of tissue and breast captions
captions      varied template captions, each with what it asserts
vocabulary    word pieces of a run
words         word vectors and caption similarity from caption statistics
pixels        pictures in memory
augment       augmentation of a batch
batch         rows, captions and class prompts of one step
loop          the training loop
state         a run on disk, to continue after an interruption
temper        evening out the text side after training
examination   zero-shot tasks in several phrasings that are not training templates
"""
