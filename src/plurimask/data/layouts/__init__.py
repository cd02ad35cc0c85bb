"""What is on disk: one module for each layout of a data set, and what they share.

Each says whether a folder is of its kind and gives the images and masks in it; what mask values mean is decided for the
whole data set elsewhere (`data.encoding`).
"""
