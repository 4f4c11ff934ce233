"""The command line: parse, call the service, print.

commands    one module per verb
interruption  Ctrl-C that cannot get lost
main        the group; loads a command's module only when it is called
options     shared options, each with one spelling
output      tables for people, JSON lines for programs, progress on stderr
page        the demo's self-contained HTML page
"""
