"""Audio intake server of MAIE, the Modular Audio Intelligence Engine."""
