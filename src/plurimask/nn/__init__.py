"""Building blocks that methods share: U-Nets, latents, heads, losses, moments.

They know no method, and no data: tensors in, tensors out.
"""
