"""A configuration that another hand wrote, read as BIRD reads it, into the values of a section.

Separate because it speaks BIRD's whole language, of which we write but a part. All pure: texts in,
values out. What cannot be said exactly is never said nearly: it is listed as lost.
"""
