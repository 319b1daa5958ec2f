"""The public names of methods."""

import diffusionblend.registry

from .admm_tv import AdmmTv as AdmmTv
from .api import make_method as make_method
from .api import reconstruct as reconstruct
from .api import sample as sample
from .api import steps as steps
from .base import Execution as Execution
from .base import Method as Method
from .base import Solution as Solution
from .cgls import Cgls as Cgls
from .diffusion.base import DiffusionMethod as DiffusionMethod
from .diffusion.base import EstimateMethod as EstimateMethod
from .diffusion.consistency import CONSISTENCY_STEPS as CONSISTENCY_STEPS
from .diffusion.consistency.base import Consistency as Consistency
from .diffusion.consistency.base import ConsistencyStep as ConsistencyStep
from .diffusion.consistency.cg import Cg as Cg
from .diffusion.consistency.dps import Dps as Dps
from .diffusion.consistency.hard import Hard as Hard
from .diffusion.consistency.none import Unconstrained as Unconstrained
from .diffusion.consistency.prox import Prox as Prox
from .diffusion.consistency.tv_z import TvZ as TvZ
from .diffusion.dds import Dds as Dds
from .diffusion.dds import Dds2d as Dds2d
from .diffusion.diffusion_mbir import DiffusionMbir as DiffusionMbir
from .diffusion.diffusionblend import DiffusionBlend as DiffusionBlend
from .diffusion.diffusionblend_pp import DiffusionBlendPP as DiffusionBlendPP
from .diffusion.langevin import Langevin as Langevin
from .diffusion.tpdm import Tpdm as Tpdm
from .fbp import Fbp as Fbp
from .fbp_unet import FbpUnet as FbpUnet
from .problem import Problem as Problem
from .sirt import Sirt as Sirt
from .validation import AtLeastOne as AtLeastOne
from .validation import BelowOne as BelowOne
from .validation import Fraction as Fraction
from .validation import NotNegative as NotNegative
from .validation import Positive as Positive
from .validation import StrictFraction as StrictFraction
from .validation import Within as Within

METHODS: diffusionblend.registry.Registry[Method]
