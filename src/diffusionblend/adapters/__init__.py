"""Operators, volumes and priors as other libraries take them; each module needs its library."""
