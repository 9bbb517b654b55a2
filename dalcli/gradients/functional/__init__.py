"""Parameters that no module's rule can see: bare ones, and weights handed to functions.

Class tokens, position tables, layer scales, relative position biases, attention's packed projections: what they have
in common is that a call takes them, or something computed from them alone, together with the samples. Two traces of
the model, with two samples and with three, show those calls: their shapes grow with the batch (``record``, ``plan``).
In a scoring pass every such call gives up its per-sample gradient (``intercept``), and ``sums`` puts them together per
parameter, before squaring. Whatever is not recognised stays with the fallback, and the self-check guards the rest.
"""
