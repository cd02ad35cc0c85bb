"""Arrays to pictures: matplotlib figures, one module for each kind, over shared colours, styles and pages.

It knows no method: what it draws comes as arrays and counts.
"""
