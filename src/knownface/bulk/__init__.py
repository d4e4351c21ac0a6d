"""Whole collections in and out: thousands of pictures, with the memory of a few.

enrolment   one picture after the other into a collection, none of them twice
sources     what is to be imported: a folder, a ZIP archive, a list
remote      the same into the collection of a server elsewhere
importing   many pictures at once, stored in batches
exporting   a collection as a folder or a ZIP archive, which can be imported again
naming      file names for whatever a subject is called
"""
