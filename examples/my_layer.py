"""A layer of one's own: generalised-mean pooling, and a convolution that compares by distance (AdderNet).

derive-kernels generate examples/my_layer.py --out my_package/     # kernels and their tests
pytest my_package/                                                 # what a CI runs
python -c "from my_package import adder2d; print(adder2d.formula)"
"""

from sympy import Abs

from derive import Operator, Sum, Tensor, indices, inside, parameters, reals, tensors

n, c, o = indices("n c o")
p, k = indices("p k", 2)
s, a = parameters("s", 2), parameters("a", 2, positive=False)
y, w = tensors("y w")
m = reals("m", positive=True)
q = [s[i] * p[i] + k[i] - a[i] for i in range(2)]

x = Tensor("x", margin=list(zip(a, a, strict=True)), outside=0)
adder2d = Operator("adder2d", y[n, o, *p] << -Sum[c, *k](Abs(x[n, c, *q] - w[o, c, *k])), inputs=(x, w))

v = Tensor("v", margin=list(zip(a, a, strict=True)))
mean = Sum[k](Abs(v[n, c, *q]) ** m) / Sum[k](inside(v[n, c, *q]))
gem_pool2d = Operator("gem_pool2d", y[n, c, *p] << mean ** (1 / m), inputs=(v,), given=k)
