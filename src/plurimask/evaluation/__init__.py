"""Samples held against raters: of a method on a set of examples, and of a data set's raters among themselves.

It knows the interface of a method, and none by name.
"""
