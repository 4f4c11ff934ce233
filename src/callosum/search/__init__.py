"""From a question to hits.

fusion      reciprocal-rank fusion of two answers
grouped     rankings of files, series, studies or patients instead of single pictures
searcher    Searcher: a text, a picture or a record as the query
"""
