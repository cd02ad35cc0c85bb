"""One self-contained page about one run: its content collected, its figures and tables made, its HTML written."""
