"""What scripts/figures.py measures: what it is measured with (`values`, `tools`), on (`places`), and the rows."""
