"""Measuring accuracy on one's own pictures: labels and pictures in, figures and charts out.

results         what a measurement says: figures, tables, charts, mistakes, rows that were skipped
tables          reading CSV files that people made
judging         what the pipeline sees in pictures, many at a time
metrics         the figures themselves, pure NumPy
verification    pairs of pictures: the same person or not
identification  a gallery of known people and probes, some of them unknown
calibration     from such pairs to similarities and their false match rates
"""
