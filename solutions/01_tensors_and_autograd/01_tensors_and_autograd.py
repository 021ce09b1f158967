# ---
# id: 01_tensors_and_autograd
# title: "Tensors and autograd: the graph that moves inputs"
# module: A. Foundations
# foundation: tensors, loss, chain rule
# idea: the graph that trains weights also moves inputs
# prerequisites: []
# roles:
#   - AI security engineer
#   - ML security analyst
#   - data protection officer
#   - research scientist
# objectives:
#   - Carry a gradient backward through a graph by hand, along every road.
#   - Write reverse-mode differentiation for any graph of sums, products and tanh.
#   - Get the gradient with respect to weights and with respect to inputs from one graph.
#   - Use autograd without leaving a trace in the model or in the data.
#   - Move an input so that its loss must rise, and say why it must.
# nist_ai_100_2:
#   - id: NISTAML.022
#     name: Evasion
# mitre_atlas:
#   - id: AML.T0043
#     name: Craft Adversarial Data
#   - id: AML.T0043.000
#     name: White-Box Optimization
# minutes: 110
# seconds: 6
# points: 24
# ---

# %% [markdown]
# # Tensors and autograd: the graph that moves inputs
#
# You train a network by asking one question over and over: *if I nudge this weight, does the loss go up or down?*
# Autograd answers it for every weight at once. It answers it for every **pixel** just as readily.
#
# In this lesson you build that machine, first for single numbers, then for batches. Then you point it at the
# input. The same backward pass that teaches a network to read digits shows you how to make it misread them.
#
# You need Python, and calculus as far as the derivative of a product. You don't need to have used PyTorch.
# Plan about 110 minutes. Run each cell with Shift+Enter, from the top.

# %% tags=["parameters"]
seed = 0
profile = "fast"  # "fast": seconds on two CPU cores; "full": longer training and smoother curves

# %%
import math

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from sparring import data, figures, models, training
from sparring.device import pick_device

device = pick_device()
matplotlib.rcParams.update(figures.STYLE)

# %% [markdown]
# ## Predict first
#
# You have a small network that reads pictures of digits, 8 × 8 pixels each. It reads about 49 of 50 test pictures
# correctly. Now you move every test picture: you add a perturbation $\delta$ to its pixels. Each $\delta$ has the
# same length, $\lVert\delta\rVert = 1$. That is about a quarter of the length of a picture.
#
# You do this in two ways:
#
# - **Random**: the direction of $\delta$ is drawn at random.
# - **Backward**: the direction of $\delta$ comes from one backward pass through the network.
#
# Pixels that would leave the range from 0 (white) to 1 (black) are clamped. What share of the test pictures does
# the network still read correctly?
#
# | | random | backward |
# |---|---|---|
# | **a** | 97 % | 97 % |
# | **b** | 97 % | 80 % |
# | **c** | 97 % | 10 % |
# | **d** | 50 % | 10 % |
#
# Commit before you read on: write your letter into the next cell. You find out near the end, with code of your
# own.

# %%
my_prediction = ""  # "a", "b", "c" or "d"

# %% [markdown]
# ## Theory
#
# ### The loss is one number
#
# A **tensor** is a block of numbers with a shape. Put $n$ examples of $d$ features into one tensor $x$ of shape
# $(n, d)$. Row $x_i$ is example $i$. Its class $y_i$ is one of $c$ classes. A linear model turns each row into
# $c$ scores, the **logits** $z_i$. Softmax turns logits into probabilities $p_i$. The cross-entropy $\ell_i$ is
# small when the right class gets a high probability. The **loss** $L$ is the mean:
#
# $$z = xW^\top + b, \qquad p_{ik} = \frac{e^{z_{ik}}}{\sum_j e^{z_{ij}}}, \qquad \ell_i = -\log p_{i y_i},
# \qquad L = \frac{1}{n}\sum_i \ell_i. \tag{1}$$
#
# ### The chain rule is bookkeeping
#
# Computing $L$ takes many small operations. Draw each result as a node, with an arrow to every node made from it.
# This is the **graph**. Its **leaves** are the nodes that no operation made: the weights, and the inputs too.
#
# Write $\bar v = \partial L / \partial v$: how fast $L$ changes when $v$ does. If $v$ feeds several nodes $u$,
# each of them carries a share:
#
# $$\bar L = 1, \qquad \bar v = \sum_{u \text{ made from } v} \bar u\,\frac{\partial u}{\partial v}. \tag{2}$$
#
# Start at $L$ and walk against the arrows. When you reach $v$, every $\bar u$ it needs is known. One **backward
# pass** visits each node once and gives the gradient at every leaf. Its cost is a small constant times the cost
# of computing $L$, however many leaves there are (Griewank and Walther, 2008).
#
# ### Two kinds of leaves
#
# For the linear model, (2) gives
#
# $$\bar z_{ik} = \frac{p_{ik} - [k = y_i]}{n}, \qquad \bar W = \bar z^\top x, \qquad \bar b = \sum_i \bar z_i,
# \qquad \bar x = \bar z\,W, \tag{3}$$
#
# where $[k = y_i]$ is 1 if $k$ is the right class and 0 otherwise. All three contain the same $\bar z$. The graph
# does not know which leaf you are going to move. Training moves the weights **down**, at a rate $\eta$. An attack
# moves an input **up**, by a length $t$:
#
# $$W \leftarrow W - \eta\,\bar W, \qquad x_i \leftarrow x_i + t\,\frac{g_i}{\lVert g_i \rVert}, \qquad
# g_i = \frac{\partial \ell_i}{\partial x_i} = n\,\bar x_i. \tag{4}$$
#
# ### Why the step must raise the loss
#
# Close to $x_i$ the loss is almost its tangent:
#
# $$\ell_i(x_i + \delta) \approx \ell_i(x_i) + \langle g_i, \delta\rangle. \tag{5}$$
#
# Of all $\delta$ of length $t$, the one along $g_i$ makes $\langle g_i, \delta\rangle$ largest: $t\,\lVert
# g_i\rVert$. A random direction reaches, in root mean square, $1/\sqrt d$ of this, and goes down as often as up.
# For a linear model $\ell_i$ is convex in $x_i$ (Boyd and Vandenberghe, 2004, section 3.1.5), so it lies above
# its tangent: unless $g_i = 0$, the step raises the loss at **every** length. With hidden layers you can only
# count on a short enough step.
#
# | symbol | name in code | shape |
# |---|---|---|
# | $n$, $d$, $c$ | `len(x)`, `x.shape[1]`, `len(bias)` | numbers |
# | $x$, $y$ | `x`, `y` | `(n, d)`, `(n,)` |
# | $W$, $b$ | `weight`, `bias` | `(c, d)`, `(c,)` |
# | $z$, $p$ | `logits`, `p` | `(n, c)` |
# | $\ell$, $L$ | `losses`, `loss` | `(n,)`, `()` |
# | $\bar v$, $g$ | `grad_v`, `grad` | as `v`, as `x` |
# | $\eta$, $t$ | `rate`, `length` | numbers |
# | $\delta$ | `delta` | as `x` |

# %% [markdown]
# ## A worked example: one graph, moved twice
#
# You need data. Two **blobs** will do: points scattered around two centers in the unit square. The generator has
# a seed, so you get the same points each time.


# %%
def make_blobs(centers, labels, per_blob, spread, generator):
    """Return points around each center, shape (n, 2) in [0, 1], and the label of each point, shape (n,)."""
    centers = torch.tensor(centers).repeat_interleave(per_blob, dim=0)
    x = centers + spread * torch.randn(centers.shape, generator=generator)
    return x.clamp(0, 1), torch.tensor(labels).repeat_interleave(per_blob)


generator = torch.Generator().manual_seed(seed)
x_blobs, y_blobs = make_blobs(
    [[0.3, 0.35], [0.7, 0.65]], [0, 1], per_blob=60, spread=0.09, generator=generator
)
print("x", tuple(x_blobs.shape), x_blobs.dtype, "   y", tuple(y_blobs.shape), y_blobs.dtype)

# %% [markdown]
# Now two loops over the same loss. Read them side by side.
#
# `requires_grad_()` marks a tensor as a leaf to differentiate with respect to. `torch.autograd.grad(loss, leaf)`
# runs the backward pass and returns the gradient. `detach()` cuts a result out of the graph, so that the next
# step starts a fresh one.


# %%
def linear_loss(weight, bias, x, y):
    """Return the loss of a linear model: equation (1)."""
    return F.cross_entropy(x @ weight.T + bias, y)


def train_weights(weight, bias, x, y, rate, steps):
    """Move the weights downhill; return all of them, from the first to the last."""
    path = [(weight, bias)]
    for _ in range(steps):
        weight, bias = weight.requires_grad_(), bias.requires_grad_()
        grad_weight, grad_bias = torch.autograd.grad(linear_loss(weight, bias, x, y), (weight, bias))
        weight, bias = (weight - rate * grad_weight).detach(), (bias - rate * grad_bias).detach()
        path.append((weight, bias))
    return path


def move_inputs(weight, bias, x, y, length, steps):
    """Move the inputs uphill, each by `length` per step; return all of them, from the first to the last."""
    path = [x]
    for _ in range(steps):
        x = x.clone().requires_grad_()
        (grad_x,) = torch.autograd.grad(linear_loss(weight, bias, x, y), x)
        x = (x + length * grad_x / grad_x.norm(dim=1, keepdim=True)).detach()
        path.append(x)
    return path


# %% tags=["show"]
bad_weight, bad_bias = torch.tensor([[0.0, 4.0], [0.0, -4.0]]), torch.tensor([-2.0, 2.0])  # upside down
weights = train_weights(bad_weight, bad_bias, x_blobs, y_blobs, rate=2.0, steps=300)
inputs = move_inputs(*weights[-1], x_blobs, y_blobs, length=0.05, steps=8)

print("weights move, inputs stay              inputs move, weights stay")
print("step   loss   accuracy                 step   loss   accuracy")
for k, j in zip((0, 5, 10, 30, 300), (0, 2, 4, 6, 8), strict=True):
    line = ""
    for step, (w, b), points in ((k, weights[k], x_blobs), (j, weights[-1], inputs[j])):
        accuracy = ((points @ w.T + b).argmax(dim=1) == y_blobs).float().mean().item()
        line += f"{step:4d}  {linear_loss(w, b, points, y_blobs).item():5.2f}   {accuracy:6.0%}".ljust(39)
    print(line.rstrip())


def draw_boundary(axes, weight, bias, **style):
    """Draw the line on which both classes have the same logit."""
    (across, up), offset = (weight[1] - weight[0]).tolist(), (bias[1] - bias[0]).item()
    ends = torch.tensor([-0.2, 1.2])
    axes.plot(ends, (-offset - across * ends) / up, **style)


class_colors = [figures.COLORS["blue"], figures.COLORS["orange"]]
fig = Figure(figsize=(9, 4.6), layout="constrained")
left, right = fig.subplots(1, 2, sharex=True, sharey=True)
for axes, title in ((left, "Training: the weights move"), (right, "Attack: the inputs move")):
    axes.set(title=title, xlabel="feature 1 (no unit)", xlim=(0, 1), ylim=(0, 1), aspect="equal")
left.set_ylabel("feature 2 (no unit)")
for k, marker in ((0, "o"), (1, "^")):
    mine = y_blobs == k
    left.scatter(*x_blobs[mine].T, s=18, marker=marker, color=class_colors[k], label=f"class {k}")
    right.scatter(*x_blobs[mine].T, s=14, marker=marker, color=class_colors[k], alpha=0.35)
    right.scatter(*inputs[-1][mine].T, s=18, marker=marker, color=class_colors[k])
for start, end in zip(x_blobs[::6], inputs[-1][::6], strict=True):
    right.annotate(
        "", end.tolist(), start.tolist(), arrowprops={"arrowstyle": "->", "color": "0.35", "lw": 0.9}
    )
for k, alpha in ((0, 0.35), (5, 0.5), (10, 0.65), (30, 0.8)):
    draw_boundary(left, *weights[k], color="black", lw=1.2, ls="--", alpha=alpha)
for axes in (left, right):
    draw_boundary(axes, *weights[-1], color="black", lw=2, label="boundary, trained")
left.plot([], [], color="black", lw=1.2, ls="--", alpha=0.6, label="boundary, before")
fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
figures.picture(
    fig,
    alt="Two panels with the same two blobs. Left: a dashed boundary turns from horizontal, step by step, until a "
    "solid line separates the blobs. Right: the solid boundary stays, and arrows carry every point straight "
    "across it, into the other blob's side.",
)

# %% [markdown]
# On the left the data stay and the line turns until it separates the classes. On the right the line stays and the
# points walk across it. Both loops call the same `linear_loss`. They differ in the leaf, in the sign, and in how
# they scale the step.
#
# Where do these gradients come from? You now open the box, from the smallest graph up: one neuron with a shortcut.
# The next cell draws it. (The code that draws is never the subject here. You can skip it.)

# %% tags=["show"]
NODES = {  # name: (text, position, where its arrows come from)
    "w": ("w", (0.0, 1.0), []), "x": ("x", (0.0, 0.0), []), "b": ("b", (1.3, 1.0), []), "y": ("y", (5.2, 1.0), []),
    "u": ("u = w x", (1.3, 0.0), ["w", "x"]), "v": ("v = u + b", (2.6, 0.0), ["u", "b"]),
    "a": ("a = tanh v", (3.9, 0.0), ["v"]), "s": ("s = a + x", (5.2, 0.0), ["a", "x"]),
    "e": ("e = s − y", (6.5, 0.0), ["s", "y"]), "loss": ("L = e²", (7.8, 0.0), ["e"]),
}  # fmt: skip


def draw_graph(values, grads=None):
    """Draw the graph of exercise 1 with the value of each node, and its gradient where `grads` has one."""
    fig = Figure(figsize=(9.5, 3), layout="constrained")
    axes = fig.subplots()
    axes.set(xlim=(-0.5, 8.3), ylim=(-1.0, 1.4))
    axes.set_axis_off()
    for name, (text, (across, up), sources) in NODES.items():
        room = ["\u2007" * 6] if grads else []  # a line as wide as a gradient, which is written over it
        lines = [text, f"{values[name]:.2f}".replace("-", "−"), *room]
        edge = "0.3" if sources else figures.COLORS["blue"]
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": edge, "linewidth": 1.6}
        axes.text(across, up, "\n".join(lines), ha="center", va="center", bbox=box, zorder=3)
        if grads:
            label = f"{grads[name]:+.2f}".replace("-", "−")
            color = figures.COLORS["vermilion"]
            axes.text(
                across, up - 0.15, label, ha="center", va="center", weight="bold", color=color, zorder=4
            )
        for source in sources:
            bend = "arc3,rad=0.3" if (source, name) == ("x", "s") else "arc3"
            style = {
                "arrowstyle": "-|>",
                "color": "0.45",
                "shrinkA": 18,
                "shrinkB": 32,
                "connectionstyle": bend,
            }
            axes.annotate("", (across, up), NODES[source][1], arrowprops=style, zorder=1)
    return fig


def graph_values(w, x, b, y):
    """Return the value of every node of exercise 1, by name."""
    a = math.tanh(w * x + b)
    named = {"w": w, "x": x, "b": b, "y": y, "u": w * x, "v": w * x + b, "a": a, "s": a + x}
    return named | {"e": a + x - y, "loss": (a + x - y) ** 2}


figures.picture(
    draw_graph(graph_values(w=0.8, x=0.5, b=-0.1, y=1.5)),
    alt="The graph of exercise 1 from left to right: the leaves w and x feed u, u and the leaf b feed v, then a, "
    "then s, e and the loss. A second arrow runs from x around the neuron straight to s. Each box shows its value.",
)


# %%
def compare(name, got, expected, atol=1e-4):
    """Stop with a message that tells a wrong shape from wrong values."""
    assert isinstance(got, torch.Tensor | float | int), f"{name}: got {type(got).__name__}, expected numbers"
    got, expected = torch.as_tensor(got).double(), torch.as_tensor(expected).double()
    assert got.shape == expected.shape, (
        f"{name}: wrong shape: got {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    gap = (got - expected).abs().max().item()
    assert gap <= atol, f"{name}: right shape, wrong values: off by up to {gap:.2g}"
    print(f"{name}: good")


def finite_difference(f, x, step=1e-4):
    """Measure the gradient of the number f(x) by moving one entry of x at a time, up and down."""
    grad = torch.zeros_like(x)
    for index in range(x.numel()):
        nudge = torch.zeros_like(x)
        nudge.view(-1)[index] = step
        grad.view(-1)[index] = (f(x + nudge) - f(x - nudge)) / (2 * step)
    return grad


# %% [markdown]
# ## Exercises
#
# Your answers are checked twice. The cell below each exercise tells you at once what is wrong. When you hand in,
# hidden checks call your functions with other inputs and other shapes.
#
# Most checks use `finite_difference` from the cell above. It is slow, and it never needs the chain rule: it moves
# one number a little and watches the result. That makes it a good witness.
#
# ### Exercise 1: backward by hand
#
# *Difficulty: ●○○ · 10 minutes*
#
# Take one neuron with a **shortcut**: its input $x$ goes through $\tanh$ and also around it. Then compare the
# result with a target $y$:
#
# $$u = w x, \quad v = u + b, \quad a = \tanh v, \quad s = a + x, \quad e = s - y, \quad L = e^2.$$
#
# Everything is a single number. Fill in `backward_by_hand`: compute $\bar w$, $\bar b$ and $\bar x$ with equation
# (2), one line per node, from $L$ back to the leaves. The picture above shows the graph. Count the arrows that
# leave $x$.
#
# You need one derivative: if $a = \tanh v$, then $\partial a/\partial v = 1 - a^2$.
#
# <details><summary>Hint 1: an idea</summary>
#
# Go through the six equations from the last to the first. For each one ask: if the result has gradient $\bar u$,
# what does each ingredient get? A sum hands its gradient on unchanged. A product hands on its gradient times the
# *other* factor.
#
# </details>
# <details><summary>Hint 2: a step</summary>
#
# $\bar e = 2e$, and $\bar s = \bar e$. From $s = a + x$ both $a$ and $x$ get $\bar s$. Keep the share of $x$: a
# second one comes when you reach $u = w x$.
#
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# Pass through tanh with `grad_s * (1 - a**2)`: this is the gradient at `v`, at `u` and at `b`. The weight gets it
# times `x`. The input gets it times `w`, plus what came over the shortcut.
#
# </details>


# %% exercise="backward_by_hand"
def backward_by_hand(w, x, b, y):
    """Return the loss of a neuron with a shortcut, and its gradient in w, b and x, as numbers."""
    u = w * x
    v = u + b
    a = math.tanh(v)
    s = a + x
    e = s - y
    loss = e**2
    ### BEGIN SOLUTION
    grad_e = 2 * e
    grad_s = grad_e
    grad_a = grad_s
    grad_v = grad_a * (1 - a**2)
    grad_u, grad_b = grad_v, grad_v
    grad_w = grad_u * x
    grad_x = grad_u * w + grad_s
    ### END SOLUTION
    return {"loss": loss, "w": grad_w, "b": grad_b, "x": grad_x}


# %% check="backward_by_hand" points=3
def neuron_loss(leaves):
    w, x, b, y = leaves
    return (torch.tanh(w * x + b) + x - y) ** 2


for case in ([0.8, 0.5, -0.1, 1.5], [-1.2, 0.7, 0.4, -0.3]):
    leaves = torch.tensor(case, dtype=torch.float64)
    answer = backward_by_hand(*case)
    measured = finite_difference(neuron_loss, leaves)
    for name, index in (("b", 2), ("w", 0), ("x", 1)):
        compare(f"gradient with respect to {name}", answer[name], measured[index].item())

# %% [markdown]
# ### Exercise 2: backward through any graph
#
# *Difficulty: ●●○ · 20 minutes*
#
# By hand you wrote one line per node. Now write the loop that does it for every graph. This is **reverse-mode
# automatic differentiation**, the heart of PyTorch.
#
# A graph is a list of nodes, in the order in which they are computed. Each node is a dict: `"op"` is `"leaf"`,
# `"add"`, `"mul"` or `"tanh"`; `"parents"` lists the positions of the nodes it is made from. The function
# `forward` in the next cell computes the values. Read it first.
#
# Write `backward(graph, values)`. It returns a list with one number per node: the gradient of the **last** node
# with respect to that node. A node may be used many times, twice by the same node (`"parents": [i, i]`), or not
# at all.
#
# <details><summary>Hint 1: an idea</summary>
#
# Give each node a running total that starts at 0. Only the last node starts at 1. Visit the nodes from the last
# to the first. At each visit, *add* to the totals of its parents.
#
# </details>
# <details><summary>Hint 2: a step</summary>
#
# At node `k`, with total `grads[k]`, find one derivative per parent. For `"add"` they are 1 and 1. For `"mul"`
# each parent gets the value of the other one. For `"tanh"` use `values[k]`, which already is $\tanh$ of the
# parent. A leaf has no parents.
#
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# Loop with `for k in reversed(range(len(graph)))`. Put the derivatives into a list, for example `[values[j],
# values[i]]` for a product of `i` and `j`. Then, for each parent and its derivative `d`, do `grads[parent] +=
# grads[k] * d`. With `=` in place of `+=`, the last road would erase the others.
#
# </details>


# %%
def node(op, *parents):
    """Return one node of a graph, made from the nodes at these positions."""
    return {"op": op, "parents": list(parents)}


def forward(graph, leaves):
    """Return the value of every node, given the values of the leaves in their order."""
    waiting, values = list(leaves), []
    for step in graph:
        before = [values[parent] for parent in step["parents"]]
        if step["op"] == "leaf":
            values.append(waiting.pop(0))
        elif step["op"] == "add":
            values.append(before[0] + before[1])
        elif step["op"] == "mul":
            values.append(before[0] * before[1])
        elif step["op"] == "tanh":
            values.append(math.tanh(before[0]))
    return values


# Exercise 1 as a graph. The leaf -1 turns the sum into a difference; e * e is the square.
names = ["w", "x", "b", "y", "-1", "u", "v", "a", "s", "-y", "e", "loss"]
neuron = [node("leaf")] * 5 + [
    node("mul", 0, 1), node("add", 5, 2), node("tanh", 6), node("add", 7, 1),
    node("mul", 4, 3), node("add", 8, 9), node("mul", 10, 10),
]  # fmt: skip
neuron_values = forward(neuron, [0.8, 0.5, -0.1, 1.5, -1.0])
print("loss:", round(neuron_values[-1], 4))


# %% exercise="backward"
def backward(graph, values):
    """Return the gradient of the last node with respect to every node: a list of numbers, one per node."""
    ### BEGIN SOLUTION
    grads = [0.0] * len(graph)
    grads[-1] = 1.0
    for k in reversed(range(len(graph))):
        op, parents = graph[k]["op"], graph[k]["parents"]
        if op == "mul":
            derivatives = [values[parents[1]], values[parents[0]]]
        elif op == "tanh":
            derivatives = [1 - values[k] ** 2]
        else:
            derivatives = [1.0 for _ in parents]
        for parent, derivative in zip(parents, derivatives, strict=True):
            grads[parent] += grads[k] * derivative
    return grads
    ### END SOLUTION


# %% check="backward" points=4
square_of_sum = [node("leaf"), node("leaf"), node("add", 0, 1), node("mul", 2, 2)]  # (p + q)²
answer = backward(square_of_sum, forward(square_of_sum, [2.0, 1.0]))
assert isinstance(answer, list), f"backward should return a list, got {type(answer).__name__}"
assert len(answer) == 4, f"wrong length: got {len(answer)} gradients, expected one per node: 4"
compare("gradients of (p + q)² at p = 2, q = 1", torch.tensor(answer), torch.tensor([6.0, 6.0, 6.0, 1.0]))


def last_value(leaves):
    return forward(neuron, leaves.tolist())[-1]


measured = finite_difference(last_value, torch.tensor(neuron_values[:5], dtype=torch.float64))
compare("gradients at the leaves of the neuron", torch.tensor(backward(neuron, neuron_values)[:5]), measured)

# %% [markdown]
# Here is the graph again, with the gradients that **your** `backward` finds, in orange below the values. Follow
# them from right to left. At $x$ two roads meet.

# %% tags=["show"]
found = dict(zip(names, backward(neuron, neuron_values), strict=True))
figures.picture(
    draw_graph(graph_values(w=0.8, x=0.5, b=-0.1, y=1.5), grads=found),
    alt="The graph of exercise 1; each box shows its value and below it, in orange, its gradient. The gradient of x "
    "is the sum of what comes back through u and what comes back over the shortcut from s.",
)

# %% [markdown]
# ### Exercise 3: one graph, both gradients
#
# *Difficulty: ●●○ · 15 minutes*
#
# PyTorch runs the same walk with tensors as nodes. Do it once yourself, for the linear model of equation (1).
# Write `both_gradients(weight, bias, x, y)`. It returns a dict of five tensors:
#
# | key | what | shape |
# |---|---|---|
# | `"loss"` | $L$, the mean cross-entropy | `()` |
# | `"logits"` | $\bar z$ | `(n, c)` |
# | `"weight"` | $\bar W$ | `(c, d)` |
# | `"bias"` | $\bar b$ | `(c,)` |
# | `"x"` | $\bar x$ | `(n, d)` |
#
# Equation (3) has all you need. Leave the arguments as they are. The function has to survive logits of 1000:
# $e^{1000}$ is infinite in floating point.
#
# <details><summary>Hint 1: an idea</summary>
#
# Everything hangs on $\bar z$, the softmax minus a one-hot row, over $n$. The three others are one matrix
# operation each. If a product doesn't fit, look at the shapes: only one order and one transposition give `(c, d)`
# from `(n, c)` and `(n, d)`.
#
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `logits.log_softmax(dim=1)` gives $\log p$ without computing $e^{1000}$; its `.exp()` is $p$. `F.one_hot(y, c)`
# gives the rows with a single 1, as integers: convert them with `.to(x.dtype)`.
#
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# With `target` for the one-hot rows: the loss is minus the mean over the examples of `(target *
# log_p).sum(dim=1)`, and $\bar z$ is `(log_p.exp() - target)` divided by `len(x)`. Then `grad_logits.T @ x`, a
# sum over `dim=0`, and `grad_logits @ weight`.
#
# </details>


# %% exercise="both_gradients"
def both_gradients(weight, bias, x, y):
    """Return the loss of a linear model and its gradients, by equations (1) and (3), as a dict of tensors."""
    ### BEGIN SOLUTION
    target = F.one_hot(y, len(bias)).to(x.dtype)
    log_p = (x @ weight.T + bias).log_softmax(dim=1)
    grad_logits = (log_p.exp() - target) / len(x)
    return {
        "loss": -(target * log_p).sum(dim=1).mean(),
        "logits": grad_logits,
        "weight": grad_logits.T @ x,
        "bias": grad_logits.sum(dim=0),
        "x": grad_logits @ weight,
    }
    ### END SOLUTION


# %% check="both_gradients" points=4
weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
bias = torch.randn(3, generator=generator, dtype=torch.float64)
x = torch.rand(4, 5, generator=generator, dtype=torch.float64)
y = torch.tensor([0, 2, 1, 2])
answer = both_gradients(weight, bias, x, y)
assert isinstance(answer, dict), f"both_gradients should return a dict, got {type(answer).__name__}"
missing = {"loss", "logits", "weight", "bias", "x"} - set(answer)
assert not missing, f"the dict lacks {sorted(missing)}"
compare("loss", answer["loss"], linear_loss(weight, bias, x, y))
compare("logits", answer["logits"], finite_difference(lambda z: F.cross_entropy(z, y), x @ weight.T + bias))
compare("weight", answer["weight"], finite_difference(lambda w: linear_loss(w, bias, x, y), weight))
compare("bias", answer["bias"], finite_difference(lambda b: linear_loss(weight, b, x, y), bias))
compare("x", answer["x"], finite_difference(lambda points: linear_loss(weight, bias, points, y), x))

# %% [markdown]
# Now you can train without autograd. The next cell repeats both loops of the worked example with **your**
# gradients: in the middle column the weights move down, in the right one the points move up, under the trained
# weights.

# %% tags=["show"]
w, b, points = bad_weight, bad_bias, x_blobs
print("step    loss as the weights move    loss as the points move")
for step in range(301):
    down, up = both_gradients(w, b, x_blobs, y_blobs), both_gradients(*weights[-1], points, y_blobs)
    if step % 60 == 0:
        print(f"{step:4d}    {down['loss'].item():24.4f}    {up['loss'].item():23.4f}")
    if step < 300:
        w, b = w - 2.0 * down["weight"], b - 2.0 * down["bias"]
        points = points + 0.4 / 300 * up["x"] / up["x"].norm(dim=1, keepdim=True)
print("the same weights as autograd's:", torch.allclose(w, weights[-1][0], atol=1e-4))
print("the same points as autograd's: ", torch.allclose(points, inputs[-1], atol=1e-4))

# %% [markdown]
# ## From points to pictures
#
# Now take real data: 1797 scanned digits of 8 × 8 pixels, each pixel between 0 and 1 (Alpaydin and Kaynak, 1998).
# The model is a multilayer perceptron: two linear layers with a ReLU between. Lesson 05 takes it apart. Here you
# only need that it is a graph, so autograd can walk it.

# %% tags=["show"]
digits = data.load("digits", seed=seed)
x_train, y_train = digits.x_train.to(device), digits.y_train.to(device)
x_test, y_test = digits.x_test.to(device), digits.y_test.to(device)
model = models.MLP([64, 64, 10], generator=torch.Generator().manual_seed(seed)).to(device)
epochs = {"fast": 30, "full": 100}[profile]
training.fit(model, x_train, y_train, epochs=epochs, lr=3e-3, generator=torch.Generator().manual_seed(seed))
print(f"x_test {tuple(x_test.shape)}, y_test {tuple(y_test.shape)}")
print(f"test accuracy: {training.accuracy(model, x_test, y_test):.1%}")
print(f"mean length of a picture: {x_test.flatten(1).norm(dim=1).mean().item():.2f}")

# %% [markdown]
# One habit of PyTorch surprises everyone once. `loss.backward()` does not *return* gradients. It **adds** them to
# the `.grad` of every leaf, on top of what is there. Training code clears them at each step. Code that only wants
# to look at a model must not leave anything behind. Run this, and predict the third line before you do:

# %%
leaf = torch.tensor([3.0], requires_grad=True)
for times in (1, 2, 3):
    (leaf**2).sum().backward()
    print(f"backward called {times} times: leaf.grad = {leaf.grad.item():.0f}")
(clean,) = torch.autograd.grad((leaf**2).sum(), leaf)
print(f"torch.autograd.grad returns {clean.item():.0f} and leaves leaf.grad at {leaf.grad.item():.0f}")

# %% [markdown]
# ### Exercise 4: saliency
#
# *Difficulty: ●●○ · 10 minutes*
#
# Which pixels would change the score of a class fastest? The **saliency map** of a picture answers with a
# gradient. It takes the logit of one class $y_i$, not the loss, and keeps the size of each derivative (Simonyan,
# Vedaldi and Zisserman, 2013, section 3):
#
# $$M_i(\text{row}, \text{column}) = \max_{\text{channel}}
# \left| \frac{\partial z_{i y_i}}{\partial x_i(\text{channel}, \text{row}, \text{column})} \right|. \tag{6}$$
#
# Write `saliency(model, x, y)` with autograd. `x` has shape `(n, channels, height, width)`, the result `(n,
# height, width)`. Three things must hold. A picture's map does not depend on the other pictures of its batch. The
# caller's `x` stays as it is. The model does too: its weights, its mode, and every `.grad`.
#
# <details><summary>Hint 1: an idea</summary>
#
# A backward pass starts from one number. The *sum* of the chosen logits is one number, and picture $i$ touches
# only its own term. So the gradient of the sum contains each picture's own gradient. A mean would divide it by
# $n$.
#
# </details>
# <details><summary>Hint 2: a step</summary>
#
# Make your own leaf with `x.detach().clone().requires_grad_()`. Pick one logit per row with `gather`: it wants
# the positions as a column, `y[:, None]`. Ask `torch.autograd.grad` for the leaf only. Then nothing lands in the
# weights.
#
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# The number is `model(leaf).gather(1, y[:, None]).sum()`. `torch.autograd.grad` returns a tuple with one entry.
# Take its absolute value, then `.amax(dim=1)`, which removes the channels.
#
# </details>


# %% exercise="saliency"
def saliency(model, x, y):
    """Return the saliency map of each picture, by equation (6): shape (n, height, width)."""
    ### BEGIN SOLUTION
    leaf = x.detach().clone().requires_grad_()
    score = model(leaf).gather(1, y[:, None]).sum()
    (grad,) = torch.autograd.grad(score, leaf)
    return grad.abs().amax(dim=1)
    ### END SOLUTION


# %% check="saliency" points=4
plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 2))  # pictures of 2 channels, 2 x 2 pixels
plain[1].weight.data = torch.tensor([[1.0, -2, 3, -4, 0, 5, -1, 2], [0.5, 0, 0, 0, -0.25, 0, 7, 0]])
pictures = torch.rand(3, 2, 2, 2, generator=generator)
answer = saliency(plain, pictures, torch.tensor([0, 1, 0]))
first, second = [[1.0, 5.0], [3.0, 4.0]], [[0.5, 0.0], [7.0, 0.0]]
compare("maps of three pictures", answer, torch.tensor([first, second, first]))
compare("the map of a picture alone", saliency(plain, pictures[:1], torch.tensor([0])), torch.tensor([first]))
assert plain[1].weight.grad is None, "saliency left a gradient in the model: plain[1].weight.grad is set"
assert not pictures.requires_grad, "saliency changed the caller's x: it requires a gradient now"
assert not answer.requires_grad, "the map still hangs on a graph: detach it"
print("nothing left behind: good")


# %% tags=["show"]
def frame(axes):
    """Show a picture without ticks, in a thin frame."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color="0.6", linewidth=0.8)


everywhere = saliency(model, x_test, y_test)
ink = x_test[:, 0] > 0
area, share = ink.float().mean().item(), (everywhere[ink].sum() / everywhere.sum()).item()
print(f"pixels with ink hold {area:.0%} of the area and {share:.0%} of the saliency")

chosen = torch.tensor([(y_test == k).nonzero()[0].item() for k in range(10)], device=device)
maps = saliency(model, x_test[chosen], y_test[chosen]).cpu()
fig = Figure(figsize=(9.5, 2.2), layout="constrained")
rows = fig.subplots(2, 10)
for k in range(10):
    rows[0, k].imshow(x_test[chosen[k], 0].cpu(), cmap="gray_r", vmin=0, vmax=1)
    shown = rows[1, k].imshow(maps[k], cmap="cividis", vmin=0, vmax=maps.max())
    rows[0, k].set_title(str(k))
for axes in rows.flat:
    frame(axes)
rows[0, 0].set_ylabel("picture")
rows[1, 0].set_ylabel("saliency")
fig.colorbar(shown, ax=rows, label="saliency\n(logits per unit of ink)")
figures.picture(
    fig,
    alt="Two rows of ten small images. Above, one test picture of each digit from 0 to 9. Below, its saliency map: a "
    "speckled pattern in which single bright pixels lie on strokes as well as on empty paper.",
)

# %% [markdown]
# Is this what you expected? The maps don't trace the digits. The printed line puts it in numbers: pixels with ink
# hold about the share of the saliency that they hold of the area. A little ink on empty paper would move the
# score just as fast.
#
# A saliency map is a derivative. It says what a small change *would* do, here and now. It doesn't say why the
# network decided as it did.
#
# ## How far does the tangent reach?
#
# The tangent of equation (5) is a promise for small steps. Three tall blobs in a row show how it breaks: class 0,
# class 1, and class 0 again. A point of the left blob wants a higher loss, so the gradient sends it to the right.
# What happens if it walks too far?

# %% tags=["show"]
row = torch.Generator().manual_seed(seed)
tall = torch.tensor([0.05, 0.2])  # less spread across than up
x_row, y_row = make_blobs(
    [[0.2, 0.5], [0.5, 0.5], [0.8, 0.5]], [0, 1, 0], per_blob=60, spread=tall, generator=row
)
bent = models.MLP([2, 32, 2], generator=row)
training.fit(bent, x_row, y_row, epochs=60, batch_size=60, lr=0.02, generator=row)

start = torch.tensor([[0.25, 0.5]], requires_grad=True)
loss_here = F.cross_entropy(bent(start), torch.tensor([0]))
(slope,) = torch.autograd.grad(loss_here, start)
lengths = torch.linspace(0, 0.6, 121)
line = start.detach() + lengths[:, None] * slope / slope.norm()
with torch.no_grad():
    along = F.cross_entropy(bent(line), torch.zeros(121, dtype=torch.long), reduction="none")
    ticks = torch.linspace(0, 1, 101)
    square = torch.cartesian_prod(ticks, ticks)
    heat = F.cross_entropy(bent(square), torch.zeros(len(square), dtype=torch.long), reduction="none")
for length in (0.1, 0.25, 0.55):
    there = along[round(length / 0.005)].item()
    verdict = "rises" if there > loss_here else "FALLS"
    print(f"hidden layer, step of length {length}: loss {loss_here.item():.4f} -> {there:.4f}, {verdict}")

w, b = weights[-1]
at_start = F.cross_entropy(x_blobs @ w.T + b, y_blobs, reduction="none")
rose = 0
for length in range(1, 31):
    (points,) = move_inputs(w, b, x_blobs, y_blobs, length / 10, steps=1)[1:]
    rose += (F.cross_entropy(points @ w.T + b, y_blobs, reduction="none") > at_start).sum().item()
print(f"linear model, 120 points, lengths 0.1 to 3.0: the loss rises in {rose} of {120 * 30} steps")

fig = Figure(figsize=(9.5, 4.2), layout="constrained")
left, right = fig.subplots(1, 2)
shown = left.imshow(
    heat.view(101, 101).T, origin="lower", extent=(0, 1, 0, 1), cmap="cividis", aspect="equal"
)
for k, marker in ((0, "o"), (1, "^")):
    left.scatter(
        *x_row[y_row == k].T,
        s=12,
        marker=marker,
        color="white",
        edgecolors="black",
        linewidths=0.5,
        label=f"class {k}",
    )
left.annotate(
    "", line[110].tolist(), line[0].tolist(), arrowprops={"arrowstyle": "-|>", "color": "white", "lw": 2}
)
left.set(
    xlabel="feature 1 (no unit)", ylabel="feature 2 (no unit)", title="Loss of class 0, as seen by an input"
)
left.grid(visible=False)
fig.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2)
fig.colorbar(shown, ax=left, label="cross-entropy (nats)")
right.plot(lengths, along, color=figures.COLORS["blue"], lw=2, label="loss along the arrow")
tangent = loss_here.item() + lengths * slope.norm()
right.plot(lengths[:41], tangent[:41], color="black", ls="--", label="tangent at the start")
right.set(
    xlabel="length of the step (units of the features)",
    ylabel="cross-entropy (nats)",
    title="Up, and down again",
)
right.legend(loc="upper right")
figures.picture(
    fig,
    alt="Left: a map of the loss of class 0 over the unit square, low at the left and right blob, high in the middle; "
    "an arrow starts in the left blob and crosses the middle to the right blob. Right: along this arrow the loss "
    "rises steeply, peaks over the middle blob, and falls again. The tangent at the start is nearly flat.",
)

# %% [markdown]
# A step of 0.25 lands in the middle blob: the loss is high. A step of 0.55 lands in the right blob, where class 0
# is the right answer again: the attacker *helped* the model. On the linear model no step can be too long, as the
# last printed line shows.
#
# Here the direction was right and the length was not. So try the length you want, look, and halve it where it
# failed. If $g_i \neq 0$, some length works, because the tangent is right for short steps. (At a kink of a ReLU
# there is no tangent. You almost never start on one.)
#
# ### Exercise 5: a step that must raise the loss
#
# *Difficulty: ●●● · 20 minutes*
#
# Write `raise_loss(model, x, y, length)`. It returns moved pictures:
#
# 1. Each picture moves along $g_i$, the gradient of its **own** cross-entropy, by the L2 length `length`. Then its pixels
#    are clamped to $[0, 1]$, so that it stays a picture.
# 2. Where this did not raise the picture's own loss, halve its length and try again, at most 20 times.
# 3. A picture that can't be raised stays as it is. This happens when $g_i = 0$ or `length` is 0. No NaN, please.
#
# As in exercise 4: a picture's result does not depend on its batch, and nothing of the caller's changes. The
# pictures in `x` already lie in $[0, 1]$. Their shape may be `(n, channels, height, width)` or `(n, d)`. That is
# what `column` is for: if `v` has one number per picture, `v.view(column)` spreads it over the pixels.
#
# <details><summary>Hint 1: an idea</summary>
#
# You need the gradient only once, at `x`. After that you only *evaluate*: compute the losses before, compute the
# losses after, and keep one length per picture. `torch.where(condition, a, b)` chooses picture by picture.
#
# </details>
# <details><summary>Hint 2: a step</summary>
#
# `grad.flatten(1).norm(dim=1)` is one norm per picture. Divide by `norm.clamp_min(1e-12)`: then a zero gradient
# gives a zero direction, not NaN. Start with `lengths = torch.full_like(norm, length)`. The trials don't need a
# graph: put them under `with torch.no_grad():`.
#
# </details>
# <details><summary>Hint 3: nearly the code</summary>
#
# In each of 20 rounds: `moved = (x + lengths.view(column) * direction).clamp(0, 1)`, then `higher = losses(moved)
# > before`. Stop if all are higher. Else `lengths` becomes `torch.where(higher, lengths, lengths / 2)`. At the
# end return `moved` where it is higher and `x` elsewhere.
#
# </details>


# %% exercise="raise_loss"
def raise_loss(model, x, y, length):
    """Move each picture up its own loss, inside [0, 1], by `length` (L2) or a halving of it."""
    column = (-1,) + (1,) * (x.ndim - 1)

    def losses(pictures):
        return F.cross_entropy(model(pictures), y, reduction="none")

    ### BEGIN SOLUTION
    leaf = x.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    norm = grad.flatten(1).norm(dim=1)
    direction = grad / norm.clamp_min(1e-12).view(column)
    lengths = torch.full_like(norm, length)
    with torch.no_grad():
        before = losses(x)
        for _ in range(21):
            moved = (x + lengths.view(column) * direction).clamp(0, 1)
            higher = losses(moved) > before
            if higher.all():
                break
            lengths = torch.where(higher, lengths, lengths / 2)
        return torch.where(higher.view(column), moved, x)
    ### END SOLUTION


# %% check="raise_loss" points=5
def picture_losses(model, x, y):
    with torch.no_grad():
        return F.cross_entropy(model(x), y, reduction="none")


small = models.MLP([6, 16, 3], generator=generator)
with torch.no_grad():
    for parameter in small.parameters():
        parameter.mul_(4)  # steep and bent, so that long steps miss
x = torch.rand(40, 6, generator=generator)
y = torch.randint(3, (40,), generator=generator)
x_before = x.clone()
moved = raise_loss(small, x, y, length=1.5)
assert isinstance(moved, torch.Tensor), f"raise_loss should return a tensor, got {type(moved).__name__}"
assert moved.shape == x.shape, f"wrong shape: got {tuple(moved.shape)}, expected {tuple(x.shape)}"
assert torch.equal(x, x_before), "raise_loss changed the caller's x"
assert moved.isfinite().all(), "right shape, wrong values: some are NaN or infinite"
assert moved.min() >= 0 and moved.max() <= 1, f"pixels left [0, 1]: {moved.min():.2f} to {moved.max():.2f}"
distance = (moved - x).norm(dim=1).max().item()
assert distance <= 1.5 + 1e-5, f"a picture moved by {distance:.2f}, more than the length 1.5"
stuck = (picture_losses(small, moved, y) <= picture_losses(small, x, y)).sum().item()
assert stuck == 0, f"the loss of {stuck} of 40 pictures did not rise"
compare("one picture alone", raise_loss(small, x[:1], y[:1], length=1.5), moved[:1])
assert torch.equal(raise_loss(small, x, y, length=0.0), x), "length 0 must give x back"
print("raise_loss: good")

# %% [markdown]
# ## Look at it
#
# Back to the digits and to your prediction. First the loss, seen from one picture: along its gradient, along the
# tangent, and along 1000 random directions of the same length. The pixels are not clamped here, so that each path
# is a straight line.

# %% tags=["show"]
chosen_picture, chosen_class = x_test[chosen[3:4]], y_test[chosen[3:4]]
leaf = chosen_picture.clone().requires_grad_()
here = F.cross_entropy(model(leaf), chosen_class)
(up,) = torch.autograd.grad(here, leaf)
draw = torch.Generator().manual_seed(seed)
directions = torch.randn(1000, 1, 8, 8, generator=draw).to(device)
directions = directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
lengths = torch.linspace(0, 2, 41)
with torch.no_grad():
    paths = torch.stack([chosen_picture + t * directions for t in lengths.tolist()]).flatten(0, 1)
    repeated = chosen_class.expand(len(paths))
    random_losses = F.cross_entropy(model(paths), repeated, reduction="none").view(41, 1000).cpu()
    uphill = torch.cat([chosen_picture + t * up / up.norm() for t in lengths.tolist()])
    uphill_losses = F.cross_entropy(model(uphill), chosen_class.expand(41), reduction="none").cpu()
cosines = directions.flatten(1) @ (up / up.norm()).flatten()
print("1000 random directions, compared with the gradient:")
print(f"root mean square of the cosine  {cosines.square().mean().sqrt().item():.3f}")
print(f"1/√d with d = 64 pixels         {1 / math.sqrt(64):.3f}")
print(f"share that points downhill      {(cosines < 0).float().mean().item():.0%}")

fig = Figure(figsize=(7.5, 4), layout="constrained")
axes = fig.subplots()
low, high = random_losses.quantile(0.05, dim=1), random_losses.quantile(0.95, dim=1)
axes.fill_between(lengths, low, high, color="0.8", label="random directions, middle 90 %")
axes.plot(lengths, random_losses.median(dim=1).values, color="0.35", label="random directions, median")
axes.plot(lengths, uphill_losses, color=figures.COLORS["vermilion"], lw=2.2, label="along the gradient")
tangent = here.item() + lengths * up.norm().item()
axes.plot(lengths, tangent, color="black", ls="--", label="tangent at the picture")
axes.set(xlabel="L2 length of the step (pixel units, black = 1)", ylabel="cross-entropy (nats)")
axes.legend(loc="upper left")
figures.picture(
    fig,
    alt="Loss against the length of the step for one picture of a 3. Random directions stay near the bottom, in a narrow "
    "gray band. The loss along the gradient bends upward and leaves its dashed tangent far below.",
)

# %% [markdown]
# The random directions hardly matter: in 64 dimensions almost every direction is almost orthogonal to the
# gradient. Now the whole test set, with **your** `raise_loss`. The bands are 95 % Wilson intervals for the 450
# test pictures; lesson 07 derives them.


# %% tags=["show"]
def wilson(hits, n, z=1.96):
    """Return the 95 % Wilson score interval of a share."""
    center, spread = hits + z * z / 2, z * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return (center - spread) / (n + z * z), (center + spread) / (n + z * z)


def hits_of(x):
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y_test).sum().item()


noise = torch.randn(x_test.shape, generator=torch.Generator().manual_seed(seed)).to(device)
noise = noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
steps = torch.linspace(0, 2, {"fast": 11, "full": 41}[profile]).tolist()
curves = {"random": [], "backward": []}
for t in steps:
    curves["random"].append(hits_of((x_test + t * noise).clamp(0, 1)))
    curves["backward"].append(hits_of(raise_loss(model, x_test, y_test, t)))

n = len(y_test)
for name, hits in curves.items():
    at_one = hits[len(steps) // 2]
    low, high = wilson(at_one, n)
    print(f"{name:8s}  length 0: {hits[0]} of {n} = {hits[0] / n:5.1%}")
    print(f"          length 1: {at_one} of {n} = {at_one / n:5.1%}, 95 % interval {low:.0%} to {high:.0%}")
options = {"a": (0.97, 0.97), "b": (0.97, 0.80), "c": (0.97, 0.10), "d": (0.50, 0.10)}
measured = [curves[name][len(steps) // 2] / n for name in ("random", "backward")]
nearest = min(options, key=lambda k: math.dist(options[k], measured))
print(f"nearest line of the table: {nearest}; you predicted: {my_prediction or 'nothing yet'}")

fig = Figure(figsize=(7.5, 4), layout="constrained")
axes = fig.subplots()
for name, color, marker in (("random", "blue", "o"), ("backward", "vermilion", "s")):
    bands = [wilson(hits, n) for hits in curves[name]]
    axes.fill_between(
        steps,
        [100 * low for low, _ in bands],
        [100 * high for _, high in bands],
        color=figures.COLORS[color],
        alpha=0.25,
        lw=0,
    )
    axes.plot(
        steps,
        [100 * hits / n for hits in curves[name]],
        color=figures.COLORS[color],
        marker=marker,
        label=f"{name} direction",
    )
axes.axhline(10, color="0.4", ls=":", label="guessing")
axes.set(
    xlabel="L2 length of the step (pixel units, black = 1)",
    ylabel=f"read correctly (% of {n} pictures)",
    ylim=(0, 102),
)
axes.legend(loc="center right")
figures.picture(
    fig,
    alt="Accuracy against the length of the step. In a random direction it stays above 80 percent up to length 2. In the "
    "direction of the backward pass it falls steeply, to about 10 percent at length 1 and nearly zero at length 1.5.",
)

# %% tags=["show"]
moved = raise_loss(model, x_test, y_test, 1.0)
with torch.no_grad():
    before, after = model(x_test).argmax(dim=1), model(moved).argmax(dim=1)
flipped = ((before == y_test) & (after != y_test)).nonzero().flatten()[:8]
delta = (moved - x_test)[flipped, 0].cpu()
fig = Figure(figsize=(9.5, 4.2), layout="constrained")
rows = fig.subplots(3, 8)
for k, index in enumerate(flipped.tolist()):
    rows[0, k].imshow(x_test[index, 0].cpu(), cmap="gray_r", vmin=0, vmax=1)
    change = rows[1, k].imshow(delta[k], cmap="PuOr", vmin=-0.5, vmax=0.5)
    rows[2, k].imshow(moved[index, 0].cpu(), cmap="gray_r", vmin=0, vmax=1)
    rows[0, k].set_title(f"reads {before[index].item()}")
    rows[2, k].set_title(f"reads {after[index].item()}")
for axes in rows.flat:
    frame(axes)
for axes, label in zip(rows[:, 0], ("picture", "delta", "moved"), strict=True):
    axes.set_ylabel(label)
fig.colorbar(change, ax=rows[1, :], label="change of a pixel\n(black = 1)")
figures.picture(
    fig,
    alt="Eight test pictures in columns. Top: the picture, read correctly. Middle: the perturbation, which adds and removes "
    "ink in scattered pixels. Bottom: the moved picture, which still looks like the same digit but is read as another.",
)

# %% [markdown]
# You can still read most of the digits in the bottom row. The network can't. Nothing was searched: one backward
# pass gave the direction, and the same pass would have given the gradients for training.
#
# Be careful with what this shows. The attacker knew the weights (a *white box*) and moved each picture by an L2
# length of at most 1, inside $[0, 1]$, with one gradient. A better attack can only lower the accuracy further.
# And it is a claim about one model, one data set and one norm. Try such things on models that are yours, or that
# you were asked to test.
#
# Biggio et al. (2013) followed gradients on inputs to evade classifiers, and Szegedy et al. (2013) fooled deep
# networks. From lesson 03 on, what an attack climbs per example has a name of its own: the **objective**. Here it
# was the cross-entropy.
#
# ## A question for a human
#
# A hospital tests a network that reads chest X-rays. The vendor shows saliency maps: the bright pixels lie on the
# lungs. The vendor writes: "*The maps prove that the network looks at the lungs and ignores everything else.
# Small changes to an image can't mislead it.*"
#
# You advise the hospital. Write at most 200 words: What do the maps support? What don't they? Which measurement
# would you ask for before the network is used, and which result would make you say no?
#
# | points | rubric |
# |---|---|
# | 1 | Says what a saliency map is: the local derivative of one score with respect to the input, at this image. |
# | 1 | Refutes both claims with a reason from this lesson: a small or local derivative is neither a cause nor a bound on what a step of some length does. |
# | 1 | Asks for a measurement that could prove the vendor wrong, with its budget: for instance accuracy after a gradient step of a stated length, or maps after the weights are randomized (Adebayo et al., 2018). |
# | 1 | Gives a recommendation with a condition that the hospital can act on, and names what remains unknown. |

# %% [markdown] question="saliency-claim" points=4
# The maps show, for each image, how fast the score of one class would change if a pixel changed a little. Bright
# pixels on the lungs mean that the score is sensitive there, at these images. That is worth knowing.
#
# They don't show that the rest is ignored: a pixel with a small derivative can matter after a larger change, and
# many small derivatives add up. They don't show why the network decided. And they say nothing against small
# changes. The map *is* the recipe for one: in this lesson a step along a gradient like this, about a quarter of a
# picture's length, flipped most digits.
#
# I would ask for the accuracy on held-out images after gradient steps of several lengths, next to random steps of
# the same length, with intervals, and for maps of a network with random weights, to see that the maps depend on
# what was learned. If a change that a radiologist can't see turns more than an agreed share of findings, say 1 %,
# I say no. If not, I recommend a supervised trial, and note that a stronger attack may still exist and that other
# hospitals' machines were not tested.

# %% [markdown]
# ## Quiz
#
# Choose before you unfold.
#
# **Question 1.** You compute the loss and call `loss.backward()`. Then you compute it again and call
# `loss.backward()` again. You never clear anything. What is in `weight.grad`?
#
# <details><summary>A. The gradient of the second call</summary>
#
# No. `backward` does not overwrite, it adds. You would have to set `weight.grad = None` in between.
#
# </details>
# <details><summary>B. The sum of both gradients</summary>
#
# Right. Gradients accumulate in a leaf's `.grad`, just as shares accumulate at a node in equation (2).
#
# </details>
# <details><summary>C. Nothing: the second call is an error</summary>
#
# No. An error comes when you walk the *same* graph twice, because its stored values are freed. Here each loss has
# its own graph.
#
# </details>
# <details><summary>D. The mean of both gradients</summary>
#
# No. Nothing is divided. If you want a mean, you have to divide yourself.
#
# </details>
#
# **Question 2.** The loss is the mean over a batch of 100 pictures. You look at row $i$ of its gradient with
# respect to `x`. How does it compare with the gradient of picture $i$'s own loss?
#
# <details><summary>A. It is the same</summary>
#
# No. That holds for the *sum* of the losses. The mean divides by 100; see $g_i = n\,\bar x_i$ in equation (4).
#
# </details>
# <details><summary>B. It is 100 times smaller</summary>
#
# Right. So a step by the raw gradient would shrink as the batch grows. Take the sum, or normalize each picture's
# gradient.
#
# </details>
# <details><summary>C. It is 100 times larger</summary>
#
# No. You may be thinking of the weights, whose gradient sums over all pictures before the mean divides it.
#
# </details>
# <details><summary>D. It depends on the other 99 pictures</summary>
#
# No. Picture $i$ touches only its own loss. The others change only the factor $1/n$, by how many they are. (A
# layer that mixes a batch, such as batch normalization in training mode, would make this answer right.)
#
# </details>
#
# **Question 3.** The model is linear, nothing is clamped, and picture $i$'s gradient is not zero. For which
# lengths does a step along $g_i$ raise its loss?
#
# <details><summary>A. Only for small ones</summary>
#
# No. You need a small step when the loss may bend down again. For a linear model it can't: it is convex in the
# input.
#
# </details>
# <details><summary>B. For every length above zero</summary>
#
# Right. A convex function lies above its tangent, and the tangent rises along $g_i$.
#
# </details>
# <details><summary>C. Only if the picture was read correctly</summary>
#
# No. A wrong picture's loss rises too: it gets more wrong. Whether that *counts* for an attacker is a question
# for lesson 07.
#
# </details>
# <details><summary>D. One can't know without trying</summary>
#
# No. That is the case with hidden layers. Here convexity is the proof.
#
# </details>
#
# **Question 4.** A saliency map is bright at one pixel and dark at another. What follows?
#
# <details><summary>A. The bright pixel caused the decision</summary>
#
# No. A derivative says what a small change *would* do. It says nothing about what the score is made of.
#
# </details>
# <details><summary>B. The bright pixel has more ink</summary>
#
# No. Look at the figure of exercise 4: some bright pixels lie on empty paper.
#
# </details>
# <details><summary>C. The dark pixel can be set to any value without effect</summary>
#
# No. The derivative holds at this picture. After a large change it may be another one.
#
# </details>
# <details><summary>D. A small change of the bright pixel moves the score more</summary>
#
# Right: more than the same small change of the dark pixel. This, and no more.
#
# </details>
#
# ## I can now ...
#
# - [ ] ... carry a gradient backward through a graph by hand, and add up all roads to a node.
# - [ ] ... write reverse-mode differentiation for any graph of sums, products and tanh.
# - [ ] ... get the gradients with respect to weights and inputs from one graph, and say why they share $\bar z$.
# - [ ] ... use `torch.autograd.grad` without leaving a trace in the model or in the data.
# - [ ] ... say what a saliency map shows, and what it does not.
# - [ ] ... move an input so that its loss must rise, and explain when any length will do.
#
# Next: lesson 02 replaces "must rise" by "rises as much as it possibly can", in closed form.
#
# ## Sources
#
# - D. Rumelhart, G. Hinton, R. Williams: Learning representations by back-propagating errors. *Nature* 323, 1986.
# - A. Griewank, A. Walther: *Evaluating Derivatives*. SIAM, 2nd edition, 2008. The cost of a gradient, and reverse mode in full.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind: Automatic differentiation in machine learning: a survey. *JMLR* 18, 2018.
# - S. Boyd, L. Vandenberghe: *Convex Optimization*. Cambridge University Press, 2004. Section 3.1.5: log-sum-exp is convex.
# - K. Simonyan, A. Vedaldi, A. Zisserman: Deep inside convolutional networks. arXiv:1312.6034, 2013.
# - J. Adebayo et al.: Sanity checks for saliency maps. *NeurIPS* 2018, arXiv:1810.03292.
# - B. Biggio et al.: Evasion attacks against machine learning at test time. *ECML PKDD* 2013, arXiv:1708.06131.
# - C. Szegedy et al.: Intriguing properties of neural networks. arXiv:1312.6199, 2013.
# - E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998.
