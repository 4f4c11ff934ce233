"""From a question to hits.

asked       what a typed question asks, and what it excludes
conditions  findings as conditions on pictures
fusion      reciprocal-rank fusion of two answers
grouped     rankings of files, series, studies or patients instead of single pictures
searcher    Searcher: a text, a picture or a record as the query
"""
