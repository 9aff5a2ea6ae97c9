"""What pages show: figures, tables and claims, each with its data, its origin and its verdict."""
