"""Figures of latents at several scales: what each scale decides."""
