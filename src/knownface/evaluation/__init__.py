"""Measuring accuracy on one's own pictures: labels and pictures in, figures and charts out.

results         what a measurement says: figures, tables, charts, mistakes, rows that were skipped
tables          reading CSV files that people made
judging         what the pipeline sees in pictures, many at a time
metrics         the figures themselves, pure NumPy
verification    pairs of pictures: the same person or not
identification  a gallery of known people and probes, some of them unknown
calibration     from such pairs to similarities and their false match rates
labelled        rows that say what a picture shows; of that make use:
detection       labelled faces (read by annotations): found, missed, or found where none is
mask            how a mask is worn
age_gender      how old and how male a face looks
pose            where a head is turned
report          an evaluation as one page of HTML, with the drawings of charts and axes
"""
