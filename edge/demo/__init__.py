"""A conveyor of rendered parts with planted defects, so that the whole chain can be shown and measured
without a camera. Every part is a pure function of (material, seed, index): the truth about any alert can be
recomputed from its part id. Rejected: shipping recorded images, which carry licences, weigh megabytes, and
whose defects have no known size or contrast.
"""
