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
kin           labels that stand for what they are a kind of, too
labels        codes of labels, tables of labelled texts
chance        random numbers as functions of where they are used
sentences     which words of a report a step is shown
supply        one manifest and what it supplies
stock         pictures and texts of a run, and which belong together
material      manifests to material: sides, halves, labels
cache_worker  one source to a small square, in a jailed process
square_readers  the pool of those processes
pixel_cache   every picture once, as a small square mapped into memory
mixture       which pictures and texts each step sees
augment_recipes  augmentations of published methods by name
feed          one batch, and how a draw becomes one
loader        batches prepared ahead, and continued where a run was interrupted
recipe          every choice of a run from manifests, in one frozen value
recipes         such runs by name, and those of one's own files
manifests       manifests as a command line names them
run             from manifests to a checkpoint folder
sources         what a run reads: rows to learn from, and rows to look at
start           random weights or a checkpoint, ready to be trained
adapt           what is trained: all, one side, projections, additions, words
lora            low-rank additions, merged afterwards
soft_words      learned words, which become words of the vocabulary
optim           AdamW, its rate over steps and layers
ema             averaged weights
precision       number formats of a step, and what makes it faster here
inputs          a batch of the loader as a step takes it
step            towers, objective and the gradients of the whole batch
features        features of locked towers, computed once
trainer         steps, and the state that continues them to the bit
held_out        rows that are looked at and not learnt from
retention       weights between the start and the end, measured
checkpointing   tensors on disk, whole or not at all
distributed     several processes, their gradients averaged
sharding        towers dealt out over them
watch           the log of a run
disk            a full disk, said in a sentence
trace           what went into a run and what came out
finish          the checkpoint folder and its card
heads           a linear probe, and attention over the rows of a group
head_run        a head from manifests
head_file       a head on disk
"""
