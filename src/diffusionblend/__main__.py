"""`python -m diffusionblend`: the command line."""

from diffusionblend.cli import main

main()
