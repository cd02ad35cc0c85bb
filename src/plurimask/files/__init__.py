"""Files: read without trust in who wrote them, written whole or not at all."""
