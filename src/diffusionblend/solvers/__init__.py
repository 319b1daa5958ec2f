"""Solvers: functions of a linear operator and its data; they know nothing of priors."""
