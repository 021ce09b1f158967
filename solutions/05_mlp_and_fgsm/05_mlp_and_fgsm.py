# ---
# id: 05_mlp_and_fgsm
# title: "Multilayer perceptrons and FGSM: one step on the linearization"
# module: A. Foundations
# foundation: multilayer perceptron, initialization
# idea: "FGSM: one step on the linearization"
# prerequisites: [01_tensors_and_autograd]
# roles: [AI security engineer, ML security analyst, data protection officer, research scientist]
# objectives:
#   - Write the forward pass of a multilayer perceptron and say what each layer does to shapes.
#   - Derive the initialization variance 2 / fan_in and show what other choices do to a deep network.
#   - Derive FGSM as the exact answer to a linear problem and implement it inside the image range.
#   - Measure how far the linear model of the loss is from the loss, and explain why FGSM works all the same.
#   - Report accuracy under attack over eps with the right denominator, the budget and an interval.
# nist_ai_100_2:
#   - {id: NISTAML.022, name: Evasion}
# mitre_atlas:
#   - {id: AML.T0043.000, name: "Craft Adversarial Data: White-Box Optimization"}
#   - {id: AML.T0015, name: Evade AI Model}
# minutes: 110
# seconds: 8
# points: 25
# ---

# %% [markdown]
# # Multilayer perceptrons and FGSM: one step on the linearization
#
# You build a neural network from matrix products and a kink. You train it on handwritten digits. Then you
# break it with a single gradient.
#
# **The rules of engagement for this lesson.** The attacker knows the network and its weights (*white box*). The
# attacker may change every pixel of an image by at most `eps`, and every pixel must stay in $[0, 1]$, where 0 is
# black and 1 is white. The attacker wants any wrong label. These rules are a *threat model*. You attack only
# your own network, on your own machine.

# %% tags=["parameters"]
seed = 0
profile = "fast"  # "fast": seconds on two CPU cores; "full": all of MNIST and a wider network, best on a GPU

# %%
import math

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sparring.attacks import pgd
from sparring.data import load
from sparring.device import pick_device
from sparring.figures import COLORS, STYLE, picture
from sparring.models import Linear
from sparring.threat import ThreatModel
from sparring.training import fit

matplotlib.rcParams.update(STYLE)
device = pick_device()
BUDGET = 0.1  # the eps of most examples below: a tenth of the way from black to white


def expect_shape(tensor, shape, name):
    """Stop with a clear message unless `tensor` is a tensor of this shape."""
    assert isinstance(tensor, torch.Tensor), f"{name} should be a tensor, got {type(tensor).__name__}"
    assert tuple(tensor.shape) == shape, f"wrong shape of {name}: got {tuple(tensor.shape)}, expected {shape}"


# %% [markdown]
# ## Predict first
#
# In a few minutes you will have a network that reads about 95 of 100 test digits correctly. Two parties then push
# **every** pixel of every test image by `eps = 0.1` (and cut off what falls below 0 or rises above 1):
#
# - **Noise** tosses a coin for each pixel: up or down.
# - **FGSM** computes one gradient, and picks up or down for each pixel from its sign.
#
# The size of the push is the same. How many of 100 images does the network still read correctly? Write both guesses
# down now, *before* you read on. A guess that turns out wrong is worth more to your memory than an answer you only
# read.

# %%
guess_noise = None  # for example 70
guess_fgsm = None

# %% [markdown]
# ## Theory
#
# ### The network
#
# A **multilayer perceptron** (MLP) alternates affine maps and a kink. Flatten the image into a vector
# $h_0 = x \in [0, 1]^d$. Then for the hidden layers $l = 1, \dots, L - 1$
#
# $$h_l = \max(0,\ W_l\, h_{l-1} + b_l), \qquad z = W_L\, h_{L-1} + b_L .$$
#
# The kink $\max(0, \cdot)$ is called **ReLU** and acts on each number alone. Without it the whole
# network would collapse into one matrix. The last layer has no ReLU: its outputs $z$, the **logits**, may
# have either sign. The largest logit is the predicted class.
#
# ### Initialization
#
# Training starts from random weights. Two things can go wrong before the first step.
#
# *Symmetry.* If two units of a layer start with equal weights, in and out, they get equal gradients and stay equal
# for ever. Random weights break the symmetry. Biases may start at zero.
#
# *Scale.* Take one layer with $n$ inputs (its **fan-in**), zero biases and independent weights, symmetric around 0,
# with variance $\sigma^2$. For a unit's value $a = \sum_i w_i h_i$ before the ReLU, averaged over the draw of the weights,
#
# $$\mathbb{E}[a^2] = n\,\sigma^2\,\overline{h^2}, \qquad \mathbb{E}[\max(0, a)^2] = \tfrac12\, \mathbb{E}[a^2],$$
#
# where $\overline{h^2}$ is the mean of the squared inputs. The half is there because $a$ is symmetric around 0 and
# the ReLU drops one side. So each layer multiplies the mean square by $n\sigma^2/2$. Only
#
# $$\sigma^2 = \frac{2}{n}$$
#
# keeps it (He et al. 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852), eq. 10). Anything else, to the power
# of the depth, vanishes or explodes.
#
# ### The linearization, and its worst case
#
# Write $\ell(x)$ for the **cross-entropy** of one image $x$ with label $y$, $\ell(x) = -\log \operatorname{softmax}(z(x))_y$.
# Freeze the weights and look at $\ell$ as a function of the *image*. Near $x$ it is almost its tangent:
#
# $$\ell(x + \delta) \approx \ell(x) + g \cdot \delta, \qquad g = \nabla_x\, \ell(x).$$
#
# Which perturbation $\delta$ with $|\delta_i| \le \varepsilon$ raises the tangent most? The sum
# $g \cdot \delta = \sum_i g_i \delta_i$ has one term per pixel. No term can exceed $\varepsilon |g_i|$, and
# $\delta_i = \varepsilon \operatorname{sign}(g_i)$ reaches it. All terms reach it at once, so
#
# $$\max_{\|\delta\|_\infty \le \varepsilon} g \cdot \delta = \varepsilon\, \|g\|_1
# \quad\text{at}\quad \delta = \varepsilon \operatorname{sign}(g).$$
#
# This is the **fast gradient sign method** (Goodfellow et al. 2015,
# [arXiv:1412.6572](https://arxiv.org/abs/1412.6572), section 4). The result must be an image, so clamp it:
#
# $$x_{\text{adv}} = \operatorname{clamp}_{[0,1]}\bigl(x + \varepsilon \operatorname{sign}(g)\bigr).$$
#
# The clamp costs nothing on the tangent. Each pixel still goes as far in its best direction as both rules allow.
#
# ### Why noise is so much weaker
#
# Leave the clamp aside. A random sign $\xi_i$ for each pixel gives $g \cdot \varepsilon\xi$, with mean 0 and standard
# deviation $\varepsilon \|g\|_2$. FGSM gets $\varepsilon \|g\|_1$. The ratio $\|g\|_1 / \|g\|_2$ can be as large as
# $\sqrt d$, which is 28 for an image of $d = 784$ pixels. Many small pushes, all in the right direction, add up.
#
# ### Symbols
#
# | symbol | meaning | name in code | shape |
# |---|---|---|---|
# | $x$ | a batch of images, in $[0, 1]$ | `x` | `(n, 1, 28, 28)` |
# | $y$ | their labels | `y` | `(n,)`, int64 |
# | $d$ | pixels of an image | `x[0].numel()` | 784 |
# | $W_l,\ b_l$ | weights and biases of layer $l$ | `params[l - 1]` | `(fan_out, fan_in)`, `(fan_out,)` |
# | $h_l$ | output of hidden layer $l$ | `h` | `(n, width)` |
# | $z$ | logits | `logits` | `(n, 10)` |
# | $\ell$ | cross-entropy of each image | `loss` | `(n,)` |
# | $g$ | gradient of $\ell$ with respect to the image | `gradient` | `(n, 1, 28, 28)` |
# | $\varepsilon$ | budget: largest change of a pixel | `eps` | a number |
# | $\delta$ | perturbation, $x_{\text{adv}} - x$ | `x_adv - x` | `(n, 1, 28, 28)` |

# %% [markdown]
# ## A worked example: an image of two pixels
#
# Here is a network so small that you can check every number by hand. The image has two pixels,
# $x = (0.6,\ 0.3)$, and the label is class 0. The two hidden units are the two logits:
#
# $$z_0 = \max(0,\ 2x_1 - x_2), \qquad z_1 = \max(0,\ -x_1 + 3x_2 - 0.2).$$
#
# (The last layer passes them on unchanged: $W_2$ is the identity, $b_2 = 0$.)
# So $z = (0.9,\ 0.1)$ and $\ell = \log(1 + e^{z_1 - z_0}) = \log(1 + e^{-0.8})$. By the chain rule
# $g = p_1\,(\nabla z_1 - \nabla z_0)$, where $p_1 = \operatorname{softmax}(z)_1$ and
# $\nabla z_1 - \nabla z_0 = (-1, 3) - (2, -1) = (-3, 4)$. The signs are $(-, +)$: make the first pixel darker and the
# second one lighter. Compare with what autograd says.

# %%
W_tiny = torch.tensor([[2.0, -1.0], [-1.0, 3.0]])
b_tiny = torch.tensor([0.0, -0.2])


def tiny_loss(points):
    """Cross-entropy of the two-pixel network for class 0; points of shape (n, 2) give losses of shape (n,)."""
    logits = torch.relu(points @ W_tiny.T + b_tiny)
    return F.cross_entropy(logits, torch.zeros(len(points), dtype=torch.int64), reduction="none")


tiny_x = torch.tensor([[0.6, 0.3]], requires_grad=True)
tiny_before = tiny_loss(tiny_x)
(tiny_gradient,) = torch.autograd.grad(tiny_before.sum(), tiny_x)
tiny_eps = 0.15
tiny_adv = torch.tensor([[0.6 - tiny_eps, 0.3 + tiny_eps]])  # by hand, from the signs (-, +)
tiny_rise = (tiny_loss(tiny_adv) - tiny_before).item()

print(f"gradient              {[round(value, 3) for value in tiny_gradient[0].tolist()]}")
print(f"x_adv                 {[round(value, 3) for value in tiny_adv[0].tolist()]}")
print(
    f"rise on the tangent   {tiny_eps * tiny_gradient.abs().sum().item():.3f}   (eps times the L1 norm of the gradient)"
)
print(f"rise of the loss      {tiny_rise:.3f}")
print(
    f"logits at x_adv       {[round(value, 3) for value in torch.relu(tiny_adv @ W_tiny.T + b_tiny)[0].tolist()]}: class 1 wins"
)

# %% tags=["show"]
side = torch.linspace(0, 1, 201)
grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2)
surface = tiny_loss(grid).reshape(201, 201)
start, end = tiny_x[0].tolist(), tiny_adv[0].tolist()
arrow = 0.12 * tiny_gradient[0] / tiny_gradient.norm()

fig = Figure(figsize=(6.6, 5.2))
ax = fig.subplots()
filled = ax.contourf(side, side, surface, levels=16, cmap="cividis")
fig.colorbar(filled, label="cross-entropy for class 0 (nats)")
ax.contour(side, side, surface, levels=[math.log(2)], colors="white", linestyles="dashed")
corner = (start[0] - tiny_eps, start[1] - tiny_eps)
ax.add_patch(Rectangle(corner, 2 * tiny_eps, 2 * tiny_eps, fill=False, edgecolor="white", linewidth=2))
ax.annotate(
    "",
    (start[0] + arrow[0].item(), start[1] + arrow[1].item()),
    start,
    arrowprops={"arrowstyle": "-|>", "color": "white", "linewidth": 2},
)
ax.plot(*start, "o", color="white", markersize=9)
ax.plot(*end, "s", color=COLORS["orange"], markersize=10)
ax.annotate("x", start, xytext=(8, -14), textcoords="offset points", color="white", fontsize=13)
ax.annotate("x_adv", end, xytext=(-48, 6), textcoords="offset points", color=COLORS["orange"], fontsize=13)
ax.set(
    xlabel="first pixel (0 black, 1 white)",
    ylabel="second pixel (0 black, 1 white)",
    aspect="equal",
    title="The allowed box, the gradient, FGSM's corner",
)
picture(
    fig,
    alt="The square of all images of two pixels, colored by the loss, which grows toward the upper left. A white "
    "box of half-width 0.15 surrounds x at (0.6, 0.3). The gradient points up and to the left. FGSM's x_adv sits "
    "on the upper left corner of the box, beyond the dashed line where the prediction changes.",
)

# %% [markdown]
# Look at three things.
#
# 1. The arrow is the gradient. FGSM does not follow it. It goes to the **corner** of the box, because there
#    *both* pixels have used their whole budget.
# 2. The dashed line is where the two logits are equal. The corner lies beyond it, so the prediction changes.
# 3. The loss rose by more than the tangent said. Keep this in mind until exercise 4.
#
# ## The data
#
# MNIST: handwritten digits, 28 by 28 pixels, white on black (LeCun et al. 1998). A subset comes with the
# library. You train on the training images and measure on test images which the network has never seen.

# %%
data = load("mnist", full=profile == "full", seed=seed)
x_train, y_train = data.x_train.to(device), data.y_train.to(device)
x_test, y_test = data.x_test.to(device), data.y_test.to(device)
print(
    f"train {tuple(x_train.shape)}, test {tuple(x_test.shape)}, pixels from {x_train.min():g} to {x_train.max():g}"
)

# %% [markdown]
# ### Exercise 1: initialize
# *Difficulty: ●○○ · 8 minutes*
#
# Write `init_mlp(sizes, generator)`. `sizes` lists the widths, inputs first: `[784, 128, 10]` means 784 inputs, one
# hidden layer of 128 units, 10 logits. Return a list with one pair `(W, b)` per layer:
#
# - `W` of shape `(fan_out, fan_in)`, random with mean 0 and variance `2 / fan_in`;
# - `b` of shape `(fan_out,)`, all zeros.
#
# Draw every random number from `generator`. Then one seed gives one network, and nobody else's random numbers
# are disturbed.
#
# <details><summary>Hint 1: an idea</summary>
#
# One layer sits between each pair of neighbors in `sizes`. A standard normal number has variance 1. If you
# multiply it by $c$, its variance becomes $c^2$.
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `zip(sizes[:-1], sizes[1:])` walks over `(fan_in, fan_out)`. `torch.randn` takes the shape and `generator=`. The factor
# is the square root of the variance you want.
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# ```python
# layers = []
# for fan_in, fan_out in zip(sizes[:-1], sizes[1:]):
#     W = torch.randn(..., ..., generator=generator) * math.sqrt(...)
#     layers.append((W, torch.zeros(...)))
# return layers
# ```
# </details>


# %% exercise="init_mlp"
def init_mlp(sizes, generator):
    """Return [(W, b), ...] with W of shape (fan_out, fan_in) and variance 2 / fan_in, and b zero."""
    ### BEGIN SOLUTION
    params = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        weight = torch.randn(fan_out, fan_in, generator=generator) * math.sqrt(2 / fan_in)
        params.append((weight, torch.zeros(fan_out)))
    return params
    ### END SOLUTION


# %% check="init_mlp" points=4
tried = init_mlp([400, 300, 10], torch.Generator().manual_seed(1))
assert isinstance(tried, list), f"init_mlp should return a list, got {type(tried).__name__}"
assert len(tried) == 2, f"sizes [400, 300, 10] make 2 layers, got {len(tried)}"
for (W, b), (fan_in, fan_out) in zip(tried, [(400, 300), (300, 10)], strict=True):
    expect_shape(W, (fan_out, fan_in), "W")
    expect_shape(b, (fan_out,), "b")
    assert (b == 0).all(), "right shape, wrong values: the biases should be zero"
spread = tried[0][0].var().item() * 400
assert 1.8 < spread < 2.2, (
    f"right shape, wrong values: the variance of W is {spread:.2f} / fan_in, expected 2 / fan_in"
)
again = init_mlp([400, 300, 10], torch.Generator().manual_seed(1))
assert torch.equal(tried[0][0], again[0][0]), (
    "the same generator gave other weights: pass it on to torch.randn"
)

# %% [markdown]
# ### Exercise 2: forward
# *Difficulty: ●○○ · 8 minutes*
#
# Write `mlp_logits(params, x)`. It flattens each image, applies every layer, puts a ReLU after every layer **but the
# last**, and returns logits of shape `(n, classes)`. Do not apply a softmax: `F.cross_entropy` has its own.
# The number of layers is whatever `params` holds. It may be one.
#
# <details><summary>Hint 1: an idea</summary>
#
# Carry one tensor `h` through the layers. The rows of `h` are the samples, so the matrix multiplies from the right:
# a row times the transpose of `W`.
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `x.flatten(1)` keeps the batch and flattens the rest. Loop over `params[:-1]` for the layers with a ReLU. Then treat
# `params[-1]` alone.
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# ```python
# h = x.flatten(...)
# for W, b in params[:-1]:
#     h = torch.relu(h @ ... + ...)
# W, b = ...
# return ...
# ```
# </details>


# %% exercise="mlp_logits"
def mlp_logits(params, x):
    """Return the logits, of shape (n, classes), of the network with these parameters for a batch x."""
    ### BEGIN SOLUTION
    h = x.flatten(1)
    for weight, bias in params[:-1]:
        h = torch.relu(h @ weight.T + bias)
    weight, bias = params[-1]
    return h @ weight.T + bias
    ### END SOLUTION


# %% check="mlp_logits" points=3
tried = mlp_logits(init_mlp([784, 32, 10], torch.Generator().manual_seed(1)), torch.zeros(5, 1, 28, 28))
expect_shape(tried, (5, 10), "the logits of 5 images")
assert (tried == 0).all(), "right shape, wrong values: with zero biases, a black image has logits 0"
identity = [(torch.eye(2), torch.zeros(2)), (-torch.eye(2), torch.tensor([0.0, 1.0]))]
tried = mlp_logits(identity, torch.tensor([[3.0, -4.0]]))
expect_shape(tried, (1, 2), "the logits of one sample")
assert torch.equal(tried, torch.tensor([[-3.0, 1.0]])), (
    f"right shape, wrong values: got {tried.tolist()}, expected [[-3.0, 1.0]]. Is the ReLU after the hidden layer, "
    "and only there?"
)

# %% [markdown]
# ### Look at it: why the 2 in 2 / fan_in
#
# Push test images through a network of 20 hidden layers, before any training. Three networks differ in one factor:
# the variance of their weights. The theory says that each layer multiplies the root mean square of the values by
# $\sqrt{n\sigma^2 / 2}$. The dashed lines are that prediction.

# %% tags=["show"]
deep = [
    (W.to(device), b.to(device)) for W, b in init_mlp([784] + [256] * 20, torch.Generator().manual_seed(seed))
]
fig = Figure(figsize=(6.8, 4.2))
ax = fig.subplots()
for gain, color, marker in (
    (1, COLORS["blue"], "v"),
    (2, COLORS["green"], "o"),
    (4, COLORS["vermilion"], "^"),
):
    scaled = [(W * math.sqrt(gain / 2), b) for W, b in deep]
    sizes_seen = [
        mlp_logits(scaled[: depth + 1], x_test[:200]).square().mean().sqrt().item() for depth in range(20)
    ]
    predicted_line = [sizes_seen[0] * (gain / 2) ** (depth / 2) for depth in range(20)]
    ax.semilogy(range(1, 21), sizes_seen, marker=marker, color=color, label=f"variance {gain} / fan_in")
    ax.semilogy(range(1, 21), predicted_line, "--", color=color, linewidth=1)
ax.set(
    xlabel="layer",
    ylabel="root mean square before the ReLU",
    xticks=range(1, 21, 2),
    title="Only 2 / fan_in keeps the size of the signal",
)
ax.legend()
picture(
    fig,
    alt="Size of the values against the layer, on a logarithmic axis, for three weight variances. With 2 over fan-in the "
    "line stays flat. With 1 over fan-in it falls several hundredfold over 20 layers, with 4 over fan-in it rises "
    "several hundredfold. Each line stays close to its dashed prediction.",
)

# %% [markdown]
# ### Train it
#
# Your two functions become a network that `sparring` can train. `fit` lowers the mean cross-entropy of random batches with
# Adam (Kingma and Ba 2015, [arXiv:1412.6980](https://arxiv.org/abs/1412.6980)), a refined gradient descent, and leaves the network in eval mode.
# `weight_decay` pulls every weight a little toward zero. So weights of pixels that are black in all images do not keep
# their random start, and noise on these pixels does little harm.


# %%
class Network(torch.nn.Module):
    """An MLP made of your init_mlp and your mlp_logits."""

    def __init__(self, sizes, generator):
        super().__init__()
        self.layers = torch.nn.ModuleList()
        for W, b in init_mlp(sizes, generator):
            self.layers.append(torch.nn.ParameterList([W, b]))

    def forward(self, x):
        return mlp_logits([(W, b) for W, b in self.layers], x)


def wilson(successes, n, z=1.96):
    """Return the ends of the 95 % interval for a proportion (Wilson 1927)."""
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def show_share(label, right):
    """Print the share of True values, in percent, with its 95 % interval."""
    low, high = wilson(right.sum().item(), len(right))
    print(
        f"{label:<28} {100 * right.float().mean().item():5.1f} %   95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    )


generator = torch.Generator().manual_seed(seed)
sizes = [784, 128, 64, 10] if profile == "fast" else [784, 512, 256, 10]
model = Network(sizes, generator).to(device)
fit(model, x_train, y_train, epochs=10, weight_decay=1e-4, generator=generator)


def predict(images):
    """Return the predicted class of each image."""
    with torch.no_grad():
        return model(images).argmax(dim=1)


print(f"{sum(p.numel() for p in model.parameters())} weights and biases, {len(x_test)} test images")
show_share("clean test accuracy", predict(x_test) == y_test)

# %% [markdown]
# ### Exercise 3: FGSM
# *Difficulty: ●●○ · 15 minutes*
#
# Write `fgsm(model, x, y, eps)`, where `model(x)` returns logits. Return `x_adv`, of the shape of `x`, and detached
# from any graph. A good attack is a polite guest:
#
# - the result stays in $[0, 1]$, and no pixel moves by more than `eps`;
# - a pixel with gradient exactly 0 does not move, and `eps=0` returns the images as they were;
# - nothing of the caller's changes: not `x`, not the weights' `.grad`, not the model's train or eval mode.
#
# <details><summary>Hint 1: an idea</summary>
#
# You need the gradient of the loss with respect to the *images*. Autograd tracks what you ask it to track. So make
# a copy of `x` that asks for gradients.
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `x.detach().clone().requires_grad_(True)` is that copy. `torch.autograd.grad(loss, copy)` returns the gradient (in a tuple)
# and touches no weight's `.grad`; `loss.backward()` would. `.sign()` maps 0 to 0.
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# ```python
# images = x.detach()....
# loss = F.cross_entropy(model(images), y, reduction=...)
# (slope,) = torch.autograd.grad(loss, ...)
# return (x.detach() + ...).clamp(...)
# ```
# The sum has one term per image, so each image gets the gradient of its own loss.
# </details>


# %% exercise="fgsm"
def fgsm(model, x, y, eps):
    """Return x moved by eps along the sign of each image's own loss gradient, inside [0, 1]."""
    ### BEGIN SOLUTION
    probe = x.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(model(probe), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, probe)
    return (x.detach() + eps * gradient.sign()).clamp(0, 1)
    ### END SOLUTION


# %% check="fgsm" points=6
few, few_labels = x_test[:64].clone(), y_test[:64]
model.eval().zero_grad()  # whatever an earlier try left behind
few_adv = fgsm(model, few, few_labels, BUDGET)
expect_shape(few_adv, tuple(few.shape), "x_adv")
assert not few_adv.requires_grad, "x_adv still hangs on a graph: detach the images before you add the step"
assert torch.equal(few, x_test[:64]), "you changed the caller's x in place: work on a copy"
assert not few.requires_grad, "you switched on requires_grad on the caller's x: work on a copy"
assert all(p.grad is None or not p.grad.any() for p in model.parameters()), (
    "you left gradients on the weights"
)
assert not model.training, "you switched the model to train mode"
assert few_adv.min() >= 0 and few_adv.max() <= 1, "right shape, wrong values: some pixels left [0, 1]"
moved = (few_adv - few).abs()
assert moved.max() <= BUDGET + 1e-6, "right shape, wrong values: some pixel moved by more than eps"
typical_move = moved[(few > BUDGET) & (few < 1 - BUDGET)].median().item()
assert abs(typical_move - BUDGET) < 1e-4, (
    f"right shape, wrong values: a gray pixel typically moved by {typical_move:.4f}. With room on both sides it moves by eps"
)
assert torch.equal(fgsm(model, few, few_labels, 0.0), few), "eps=0 should return the images as they were"
rise = F.cross_entropy(model(few_adv), few_labels) - F.cross_entropy(model(few), few_labels)
assert rise > 0, "right shape, wrong values: the loss fell. An attack climbs the loss"

# %% [markdown]
# ### Look at it: was your guess right?

# %%
coin_generator = torch.Generator().manual_seed(seed)
coins = (torch.randint(0, 2, x_test.shape, generator=coin_generator) * 2.0 - 1.0).to(device)
x_noise = (x_test + BUDGET * coins).clamp(0, 1)
x_adv = fgsm(model, x_test, y_test, BUDGET)

print(f"every pixel may move by {BUDGET} (linf), {len(x_test)} test images")
show_share("clean", predict(x_test) == y_test)
show_share("noise", predict(x_noise) == y_test)
show_share("FGSM", predict(x_adv) == y_test)
print(f"your guesses: noise {guess_noise}, FGSM {guess_fgsm}")

right_before = predict(x_test) == y_test

# %% tags=["show"]
fooled = right_before & (predict(x_adv) != y_test)
chosen = [int(((y_test == digit) & fooled).nonzero()[0]) for digit in y_test[fooled].unique()[:6].tolist()]
titles = ("clean", f"FGSM × {1 / BUDGET:.0f}", "after FGSM", "after noise")
fig = Figure(figsize=(1.5 * len(chosen) + 1, 7.4))
rows = fig.subplots(4, len(chosen), squeeze=False)
for column, index in enumerate(chosen):
    rows[1, column].imshow((x_adv - x_test)[index, 0].cpu(), cmap="PuOr", vmin=-BUDGET, vmax=BUDGET)
    for row, images in ((0, x_test), (2, x_adv), (3, x_noise)):
        probabilities = model(images[index : index + 1]).softmax(dim=1)[0]
        rows[row, column].imshow(images[index, 0].cpu(), cmap="gray", vmin=0, vmax=1)
        rows[row, column].set_title(f"reads {probabilities.argmax()}, {probabilities.max():.0%}", fontsize=10)
for ax in rows.flat:
    ax.set(xticks=[], yticks=[])
for ax, title in zip(rows[:, 0], titles, strict=True):
    ax.set_ylabel(title)
fig.suptitle(f"eps = {BUDGET} of the gray range, with the network's reading and its confidence")
picture(
    fig,
    alt="A grid of digits. First row: clean images, each read correctly. Second row: the change that FGSM made, magnified: "
    "orange, darker, along the strokes; purple, lighter, in specks and blots over the background. Third row: the "
    "images after FGSM, gray-speckled, still plain to a person, each read as another digit. Last row: the same images "
    "after coin noise, speckled as strongly, nearly all still read correctly.",
)

# %% [markdown]
# The last two rows look alike to you, and not to the network. The coin costs a few images in a hundred, FGSM takes most
# of them. The theory said how far apart they are: $\|g\|_1$ against $\|g\|_2$. The next cell measures it.
#
# The second row shows the clamp at work. Purple pixels got lighter, orange ones darker. On a black background FGSM
# can only go up; where it wanted to go down, nothing changes (white). On the strokes it can mostly go down.

# %% tags=["show"]
probe = x_test.clone().requires_grad_(True)
(gradient,) = torch.autograd.grad(F.cross_entropy(model(probe), y_test, reduction="sum"), probe)
gradient = gradient.flatten(1)
ratio = gradient.abs().sum(dim=1) / gradient.norm(dim=1)
print(
    f"L1 norm / L2 norm of the image gradient: median {ratio.median():.1f}, at most {math.sqrt(gradient.shape[1]):.1f}"
)

# %% [markdown]
# ### Exercise 4: how good is the tangent?
# *Difficulty: ●●○ · 12 minutes*
#
# FGSM trusts the tangent. Does the tangent deserve it? **Predict again:** at `eps = 0.1`, for the typical (median) image, how
# much of the loss's rise does the tangent foresee? (a) nearly all of it, (b) about half, (c) less than a tenth.
#
# Write `loss_rise(model, x, x_adv, y)`. Return two detached tensors of shape `(n,)`:
#
# - `predicted`: $g \cdot (x_{\text{adv}} - x)$ for each image, with $g$ taken **at** `x`;
# - `actual`: $\ell(x_{\text{adv}}) - \ell(x)$ for each image.
#
# `x_adv` may come from any attack, so use the perturbation as it is, clamp and all. As before, nothing of the
# caller's may change.
#
# <details><summary>Hint 1: an idea</summary>
#
# A dot product of two images is the sum, over all their pixels, of the products. You need one number per image,
# not one per batch.
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `F.cross_entropy(..., reduction="none")` gives one loss per image. Sum them before you call `torch.autograd.grad`: image
# $i$ is part of one term only, so it receives the gradient of its own loss. A mean would divide all of them by $n$.
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# ```python
# images = ...                                            # as in fgsm
# before = F.cross_entropy(model(images), y, reduction=...)
# (slope,) = torch.autograd.grad(before.sum(), ...)
# after = ...
# predicted = (slope * ...).flatten(1).sum(...)
# return predicted.detach(), ...
# ```
# </details>


# %% exercise="loss_rise"
def loss_rise(model, x, x_adv, y):
    """Return each image's rise of the cross-entropy from x to x_adv: (on the tangent at x, in truth)."""
    ### BEGIN SOLUTION
    probe = x.detach().clone().requires_grad_(True)
    before = F.cross_entropy(model(probe), y, reduction="none")
    (gradient,) = torch.autograd.grad(before.sum(), probe)
    after = F.cross_entropy(model(x_adv), y, reduction="none")
    predicted = (gradient * (x_adv - x)).flatten(1).sum(dim=1)
    return predicted.detach(), (after - before).detach()
    ### END SOLUTION


# %% check="loss_rise" points=3
flat = Linear(4, 2, generator=torch.Generator().manual_seed(1))
spots, spot_labels = torch.full((3, 4), 0.5), torch.tensor([0, 1, 0])
tried = loss_rise(flat, spots, spots + 1e-3, spot_labels)
assert isinstance(tried, tuple) and len(tried) == 2, "loss_rise should return two tensors: predicted, actual"
expect_shape(tried[0], (3,), "predicted")
expect_shape(tried[1], (3,), "actual")
assert not tried[0].requires_grad and not tried[1].requires_grad, "detach both results"
assert all(p.grad is None for p in flat.parameters()), "you left gradients on the weights"
moved = F.cross_entropy(flat(spots + 1e-3), spot_labels, reduction="none") - F.cross_entropy(
    flat(spots), spot_labels, reduction="none"
)
assert torch.allclose(tried[1], moved, atol=1e-6), (
    "right shape, wrong values: actual is the loss at x_adv minus the loss at x"
)
assert torch.allclose(tried[0], moved, atol=1e-5), (
    "right shape, wrong values: for so small a step the tangent should fit"
)

# %%
predicted, actual = loss_rise(model, x_test, x_adv, y_test)
print(f"FGSM, eps = {BUDGET}        on the tangent    in truth")
print(f"mean rise of the loss      {predicted.mean():8.3f}      {actual.mean():8.3f}")
print(f"median rise of the loss    {predicted.median():8.3f}      {actual.median():8.3f}")
print(
    f"images whose loss rose at least as much as the tangent said: {(actual >= predicted).float().mean():.1%}"
)

# %% [markdown]
# The answer is (c). The tangent's *value* is nearly useless here, and yet its *signs* broke the network. See why
# along one straight line. The next picture takes a typical image, walks from it in FGSM's direction, and shows two
# quantities with their tangents: the loss, and the **margin** (the logit of the true class minus the
# largest other logit; negative means misread).

# %% tags=["show"]
typical = int((actual - actual.median()).abs().argmin())
image, label = x_test[typical : typical + 1], int(y_test[typical])


def loss_and_margin(points):
    """Return the cross-entropy and the margin of each point for the typical image's label."""
    logits = model(points)
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
    loss = F.cross_entropy(logits, torch.full((len(points),), label, device=device), reduction="none")
    return loss, logits[:, label] - others.max(dim=1).values


direction = (fgsm(model, image, y_test[typical : typical + 1], BUDGET) - image) / BUDGET
probe = image.clone().requires_grad_(True)
steps = torch.linspace(0, 0.2, 101, device=device)
along = [values.detach().cpu() for values in loss_and_margin(image + steps[:, None, None, None] * direction)]
fig = Figure(figsize=(9.6, 4))
names = ("cross-entropy (nats)", "margin (logits)")
for ax, values, at_x, name in zip(fig.subplots(1, 2), along, loss_and_margin(probe), names, strict=True):
    (slope,) = torch.autograd.grad(at_x.sum(), probe, retain_graph=True)
    tangent = values[0] + steps.cpu() * (slope * direction).sum().item()
    ax.plot(steps.cpu(), values, color=COLORS["blue"], label="along FGSM's direction")
    ax.plot(steps.cpu(), tangent, "--", color=COLORS["vermilion"], label="tangent at the image")
    ax.axvline(BUDGET, color="gray", linewidth=1, linestyle=":")
    ax.set(xlabel="step length (linf, gray range 0 to 1)", ylabel=name, xticks=[0, 0.05, 0.1, 0.15, 0.2])
    ax.legend()
fig.suptitle(
    f"A typical {label}: the loss leaves its tangent, the margin hardly does (dotted: eps = {BUDGET})"
)
picture(
    fig,
    alt="Two plots against the step length. Left: the cross-entropy starts flat near zero, as its tangent says, "
    "then bends upward and climbs by several nats while the tangent stays near zero. Right: the margin falls "
    "almost in a straight line, close to its tangent, and crosses zero before eps.",
)

# %% [markdown]
# **Read it.** Write $p = \operatorname{softmax}(z)$. The gradient of the loss is
# $g = \sum_{k \ne y} p_k\,(\nabla z_k - \nabla z_y)$, and these $p_k$ add up to $1 - p_y$. For a confident network that
# is almost 0, so the loss is almost flat at $x$. The margin has no such factor. And an MLP of ReLUs is *piecewise linear*: between
# kinks each logit is exactly affine in the image (Montúfar et al. 2014, [arXiv:1402.1869](https://arxiv.org/abs/1402.1869)).
# So the step moves the logits about as planned, and the loss, a convex function of the logits, then bends upward.
#
# This also gives a small theorem. As long as no ReLU switches on the way, $\ell$ is a convex function of an affine
# map, hence convex, hence **never below its tangent**. The cell before the picture counts how many images obey.
# The others crossed a kink.
#
# **One warning.** Multiply all logits by 1000. No prediction changes, so the network is exactly as easy to fool. But the $p_k$
# of the other classes now round to 0 for many images, and their gradient is *exactly* zero. Watch FGSM.

# %% tags=["show"]
x_loud = fgsm(lambda images: 1000 * model(images), x_test, y_test, BUDGET)
stuck = (x_loud == x_test).flatten(1).all(dim=1)
print(f"linf, eps = {BUDGET}; images that FGSM did not move at all: {stuck.float().mean():.1%}")
show_share("FGSM", predict(x_adv) == y_test)
show_share("FGSM, logits times 1000", predict(x_loud) == y_test)

# %% [markdown]
# The higher number is no robustness. The very images that broke the network before break it still: the attack went
# blind. Lesson 16 is about defenses that are nothing else.
#
# ### Exercise 5: an honest sweep over eps
# *Difficulty: ●●● · 20 minutes*
#
# A single eps tells little. Write `robust_curve(model, attack, x, y, eps_values)`, where `attack(x, y, eps)` returns
# adversarial images and `eps_values` is an increasing list. Return two tensors of shape `(len(eps_values),)`:
#
# - `robust`, the **robust accuracy**: the share of *all* images that stand;
# - `success`, the **attack's success rate**: the share of the images *read correctly before the attack* that fell.
#
# An image **stands** at eps if the network reads it correctly without attack *and* under the attack at this eps
# *and* at every smaller eps in the list. Why? The box of a larger eps contains all smaller boxes and the image itself,
# so an attacker who broke the image once may hand in the same break again. At least one image is read correctly
# before the attack. Each attack starts from `x`.
#
# <details><summary>Hint 1: an idea</summary>
#
# Carry one boolean per image: "still stands". It can turn from true to false, never back.
# </details>
# <details><summary>Hint 2: a step</summary>
#
# Start with the images that are read correctly without attack, and count them. For each eps combine what stands
# with what survives, using `&`. `robust` counts what stands and divides by all images. `success` counts what fell and
# divides by the images that were read correctly at first.
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# ```python
# standing = model(x).argmax(dim=1) == y
# at_first = standing.sum()
# for ...:
#     standing = standing & (...)
#     robust.append(standing.sum() / ...)
#     success.append((at_first - standing.sum()) / ...)
# ```
# Stack both lists with `torch.stack`.
# </details>


# %% exercise="robust_curve"
def robust_curve(model, attack, x, y, eps_values):
    """Return (robust accuracy over all images, success rate over those read correctly), one entry per eps."""
    ### BEGIN SOLUTION
    robust, success = [], []
    with torch.no_grad():
        stands = model(x).argmax(dim=1) == y
    before = stands.sum()
    for eps in eps_values:
        x_adv = attack(x, y, eps)
        with torch.no_grad():
            stands = stands & (model(x_adv).argmax(dim=1) == y)
        robust.append(stands.sum() / len(y))
        success.append((before - stands.sum()) / before)
    return torch.stack(robust), torch.stack(success)
    ### END SOLUTION


# %% check="robust_curve" points=4
# Four "images" of one pixel. The toy network reads class 1 above 0.5. The toy attack follows a table: eps, image, result.
toy_x, toy_y = torch.tensor([[0.9], [0.8], [0.7], [0.6]]), torch.tensor([1, 1, 1, 0])
toy_table = {0.1: {0.9: 0.9, 0.8: 0.8, 0.7: 0.2, 0.6: 0.2}, 0.2: {0.9: 0.9, 0.8: 0.1, 0.7: 0.7, 0.6: 0.6}}


def toy_attack(images, labels, eps):
    """Look up what becomes of each image."""
    pixels = [round(pixel, 1) for pixel in images.flatten().tolist()]
    assert all(pixel in toy_table[eps] for pixel in pixels), (
        "start each attack from x, not from an earlier attack's images"
    )
    return torch.tensor([[toy_table[eps][pixel]] for pixel in pixels])


tried = robust_curve(
    lambda images: torch.cat([0.5 - images, images - 0.5], dim=1), toy_attack, toy_x, toy_y, [0.1, 0.2]
)
assert isinstance(tried, tuple) and len(tried) == 2, "robust_curve should return two tensors: robust, success"
expect_shape(tried[0], (2,), "robust")
expect_shape(tried[1], (2,), "success")
assert torch.allclose(tried[0].float().cpu(), torch.tensor([2 / 4, 1 / 4])), (
    f"right shape, wrong values: robust is {tried[0].tolist()}. Of 4 images, 3 are read correctly at first, 2 stand at 0.1, "
    "1 at 0.2: one image fell at 0.1 and may not come back"
)
assert torch.allclose(tried[1].float().cpu(), torch.tensor([1 / 3, 2 / 3])), (
    f"right shape, wrong values: success is {tried[1].tolist()}. Of the 3 images that were read correctly, 1 fell at 0.1, 2 at 0.2"
)

# %% tags=["show"]
eps_values = [0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3]


def noise_attack(images, labels, eps):
    """Move each pixel by eps, up or down at random: a yardstick, not an attack."""
    return (images + eps * coins[: len(images)]).clamp(0, 1)


curves = {
    "random signs": robust_curve(model, noise_attack, x_test, y_test, eps_values),
    "FGSM": robust_curve(model, lambda x, y, eps: fgsm(model, x, y, eps), x_test, y_test, eps_values),
}
print("   eps   robust, random signs   robust, FGSM   success, FGSM")
for i, eps in enumerate(eps_values):
    robust, success = (curves["FGSM"][k][i].item() for k in (0, 1))
    print(f"  {eps:4.2f}   {curves['random signs'][0][i].item():20.3f}   {robust:12.3f}   {success:13.3f}")

# %% tags=["show"]
fig = Figure(figsize=(6.8, 4.4))
ax = fig.subplots()
for (label, (robust, _)), color, marker in zip(
    curves.items(), (COLORS["blue"], COLORS["vermilion"]), "os", strict=True
):
    shares = robust.cpu()
    band = [wilson(round(share * len(x_test)), len(x_test)) for share in shares.tolist()]
    ax.plot(eps_values, 100 * shares, color=color, marker=marker, label=label)
    ax.fill_between(
        eps_values, [100 * low for low, _ in band], [100 * high for _, high in band], color=color, alpha=0.25
    )
ax.axhline(10, color="gray", linestyle=":", label="guessing")
ax.set(
    xlabel="eps (linf, gray range 0 to 1)",
    ylabel="images that stand (%)",
    ylim=(0, 100),
    title=f"Accuracy over eps, {len(x_test)} test images, bands: 95 % Wilson intervals",
)
ax.legend()
picture(
    fig,
    alt="Share of images that stand against eps from 0 to 0.3. Under random signs it stays near its start until "
    "0.15 and then falls slowly. Under FGSM it falls steeply, below guessing soon after eps 0.1, to nearly zero at 0.2. "
    "Narrow bands show the 95 percent intervals.",
)

# %% [markdown]
# FGSM's curve falls *below guessing*: the attacker does not make the network forget, but steers it. The sweep's
# noise costs a little more than the single run above. It counts an image as lost if *one* smaller eps broke it. That
# is the price of honest bookkeeping, and it can only favor the attacker.
#
# ### One step is not the best step
#
# FGSM answers a linear problem exactly. The true problem is not linear. So an attack that looks at the gradient
# again on the way may do better. That is PGD, projected gradient descent (Madry et al. 2018,
# [arXiv:1706.06083](https://arxiv.org/abs/1706.06083)), the subject of lesson 06. Borrow it from the library.

# %% tags=["show"]
threat = ThreatModel(norm="linf", eps=BUDGET)
stronger = pgd(
    model,
    x_test,
    y_test,
    threat,
    steps=20,
    step_size=BUDGET / 4,
    generator=torch.Generator().manual_seed(seed),
)
print(f"{threat.describe()}, {len(x_test)} test images")
survived_fgsm = right_before & (predict(x_adv) == y_test)
survived_pgd = right_before & (predict(stronger.x_adv) == y_test)
show_share("robust to FGSM", survived_fgsm)
show_share("robust to PGD, 20 steps", survived_pgd)
print(f"images that survived FGSM and fell to PGD: {(survived_fgsm & ~survived_pgd).sum()}")
print(f"images that survived PGD and fell to FGSM: {(survived_pgd & ~survived_fgsm).sum()}")

# %% [markdown]
# ## A question for a human
#
# A bank wants to read digits on checks with your network. A colleague writes in the report:
#
# > We attacked the network with FGSM at eps = 0.1. The share of images printed above survived. So at least this share
# > of all digits is safe from anybody who changes pixels by up to 0.1.
#
# The measured number is right. The sentence is not. In 120 to 250 words, explain what is wrong and write the sentence
# that the report should contain instead.
#
# | points | what the person who marks looks for |
# |---|---|
# | 1 | Survivors of one attack bound the robust accuracy from *above*: "at most", never "at least". |
# | 1 | Evidence: a number or a picture of this lesson which shows that FGSM is not the strongest attack. |
# | 1 | The new sentence names attack, norm, eps, number of images and interval. |
# | 1 | What the sample stands for: these test images, not all digits that a bank will see. |
# | 1 | Does the threat model fit? One way in which a forger can do more than this budget, or less. |

# %% [markdown] question="survivors" points=5
# FGSM tries one point of each image's box. An image that survives may still fall to a better search. So the share of
# survivors is an upper bound on robust accuracy, not a lower one. We have seen it: at the same eps, PGD with 20
# steps left clearly fewer images, and the intervals don't overlap. The loss curve shows why. FGSM solves the problem on the
# tangent, and the loss bends away from it. Only a proof (a certificate) could say "at least".
#
# The sample matters too. Our interval speaks of digits drawn like MNIST's test images. Digits on checks are
# scanned with other pens, papers and cameras, and accuracy there is not measured.
#
# The threat model is doubtful. A forger with a pen can change few pixels by a lot, which linf with eps 0.1 forbids. But a
# forger can hardly set each pixel after the scan, and may not know our weights, so in this respect the model gives too much.
#
# Better: "Under linf perturbations of at most 0.1 (white box), 20 steps of PGD left at most the printed share of the test
# images correctly read, with the printed 95 % interval. Stronger attacks may leave fewer. We make no claim about
# other changes or about images from our scanners."

# %% [markdown]
# ## Quiz
#
# Open a choice to see what it says about your thinking.
#
# **Question 1.** FGSM uses the sign of the gradient, not the gradient itself. Why?
#
# <details><summary>A. The sign removes noise from the gradient.</summary>
# Not this one. The gradient of a fixed network at a fixed image is exact; there is no noise to remove.
# </details>
# <details><summary>B. Under a budget per pixel, each pixel raises the tangent most at full budget, whatever the slope's size.</summary>
# Right. The best corner of the box depends on signs only. Under an L2 budget the answer would be the gradient itself,
# scaled.
# </details>
# <details><summary>C. The sign makes the perturbation invisible.</summary>
# Not this one. The budget bounds what one sees. The sign step uses the whole budget on every pixel with a slope.
# </details>
# <details><summary>D. Otherwise the result would leave [0, 1].</summary>
# Not this one. The sign step leaves the range as well. The clamp takes care of that.
# </details>
#
# **Question 2.** A layer has 400 inputs and ReLUs. You draw its weights with standard deviation 2 / 400. What happens in
# a deep stack of such layers?
#
# <details><summary>A. The signal keeps its size: that is the rule of this lesson.</summary>
# Look again. The rule gives the <em>variance</em>, 2 / 400. The standard deviation is its square root.
# </details>
# <details><summary>B. The signal explodes.</summary>
# The other way. 2 / 400 = 0.005 is much smaller than the right value, which is about 0.071.
# </details>
# <details><summary>C. The signal vanishes.</summary>
# Right. The variance is 0.005 squared. The mean square shrinks by 400 · 0.000025 / 2 = 0.005 per layer.
# </details>
# <details><summary>D. All units of a layer stay equal.</summary>
# No. The weights are random, if small, so the symmetry is broken.
# </details>
#
# **Question 3.** 1000 test images, 900 read correctly. Under attack 630 of these 900 are misread. What do you report?
#
# <details><summary>A. Robust accuracy 37 %, success rate 63 %.</summary>
# Look at the denominators. You divided 630 by all images, but the attack can't take credit for the 100 that were wrong
# before. And 1 - 0.63 counts these 100 as robust.
# </details>
# <details><summary>B. Robust accuracy 27 %, success rate 70 %.</summary>
# Right. 270 of 1000 stand, and 630 of 900 fell. The two need not add up to 100 %.
# </details>
# <details><summary>C. Robust accuracy 30 %, success rate 70 %.</summary>
# Half right. 270 / 900 forgets the images that need no attack to be misread. An honest robust accuracy counts them as lost.
# </details>
# <details><summary>D. Robust accuracy 27 %, success rate 73 %.</summary>
# Half right. The success rate is 630 / 900. You counted the 100 images that were wrong before as the attack's.
# </details>
#
# **Question 4.** FGSM at eps = 0.1 leaves another network's accuracy untouched, and its gradients are exactly zero. What do
# you conclude?
#
# <details><summary>A. The network is robust at eps = 0.1.</summary>
# Not shown. With a gradient of zero FGSM returned the clean images. You measured clean accuracy a second time.
# </details>
# <details><summary>B. Nothing yet: FGSM did not move. Attack the margin instead of the loss, or search without gradients.</summary>
# Right. A flat loss hides the way, it does not close it. Athalye et al. 2018 (arXiv:1802.00420) broke many defenses that
# only hid their gradients.
# </details>
# <details><summary>C. The network must be linear.</summary>
# No. A linear network with different weight rows has a gradient, and FGSM is exact on it (with two classes).
# </details>
# <details><summary>D. Raise eps until FGSM works.</summary>
# That changes nothing. Zero times any eps is zero.
# </details>

# %% [markdown]
# ## I can now ...
#
# - [ ] write a multilayer perceptron's forward pass and check it on a network small enough for paper;
# - [ ] derive 2 / fan_in, and recognize what a wrong scale does to a deep network;
# - [ ] derive FGSM as the exact solution of a linear problem on a box;
# - [ ] implement an attack that respects its budget and leaves nothing of the caller's changed;
# - [ ] explain why equal-sized noise is so much weaker, and why the tangent's signs work when its value fails;
# - [ ] report robust accuracy and success rate with the right denominators, the budget and an interval;
# - [ ] say what surviving FGSM proves (little) and what to try next (PGD, lesson 06).
#
# **Further reading.** Goodfellow, Shlens, Szegedy, *Explaining and Harnessing Adversarial Examples* (2015). He et al.,
# *Delving Deep into Rectifiers* (2015). Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 8.4 on initialization.
# Carlini et al., *On Evaluating Adversarial Robustness* (2019), [arXiv:1902.06705](https://arxiv.org/abs/1902.06705).
# Wilson, *Probable Inference, the Law of Succession, and Statistical Inference* (1927).
