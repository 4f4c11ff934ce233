"""From a question to hits.

fusion      reciprocal-rank fusion of two answers
searcher    Searcher: a text, a picture or a record as the query
"""
