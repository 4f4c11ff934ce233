"""The command line: parse, call the service, print.

commands    one module per verb
findings_page  the self-contained page of `extract`
highlight   a text in pieces that can be coloured
interruption  Ctrl-C that cannot get lost
main        the group; loads a command's module only when it is called
options     shared options, each with one spelling
output      tables for people, JSON lines for programs, progress on stderr
page        the demo's self-contained HTML page
report_files  reports of files and standard input, read in a jail
"""
