"""Calibration of networks with layers over sites (design, section 6).

ranges -> sensitivity -> tolerance -> validation
"""

from mquans.calibration.sites.pipeline import observe_sites, over_sites, site_plan_within

__all__ = ["observe_sites", "over_sites", "site_plan_within"]
