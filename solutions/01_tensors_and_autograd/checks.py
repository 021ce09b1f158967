"""Hidden checks of lesson 01: what the grader asks of a learner's functions, with inputs of its own."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import sparring.models
from sparring_grader.checks import Learner, check, expect_close, expect_tensor, require

BY_HAND = "backward_by_hand"


def uniform(learner: Learner, low: float, high: float) -> float:
    """Draw one number, well away from 0, so that a wrong factor is seen."""
    while True:
        value = low + (high - low) * torch.rand((), generator=learner.generator, dtype=torch.float64).item()
        if abs(value) > 0.3:
            return value


# Exercise 1: one neuron with a shortcut.


def neuron(w: float, x: float, b: float, y: float) -> float:
    return (math.tanh(w * x + b) + x - y) ** 2


def draw_neuron(learner: Learner) -> tuple[float, float, float, float]:
    """Draw leaves for which no gradient is tiny, so that a wrong one is seen."""
    while True:
        w, x, b, y = (uniform(learner, -1.2, 1.2) for _ in range(4))
        if abs(math.tanh(w * x + b) + x - y) > 0.2 and 0.15 < abs(w * x + b) < 1.5:
            return w, x, b, y


def numbers_of(learner: Learner, leaves: tuple[float, float, float, float]) -> dict[str, Any]:
    """Call backward_by_hand and make sure that it returned what was asked for."""
    answer = learner.call(BY_HAND, *leaves)
    require(isinstance(answer, dict), "The result should be a dict with the keys loss, w, b and x.")
    for key in ("loss", "w", "b", "x"):
        require(key in answer, f"The dict lacks the key {key!r}.")
        number = (
            answer[key].item()
            if isinstance(answer[key], Tensor) and answer[key].numel() == 1
            else answer[key]
        )
        require(
            isinstance(number, (int, float)), f"{key!r} should be a number, got a {type(number).__name__}."
        )
        answer[key] = float(number)
    return answer


def slope(leaves: tuple[float, float, float, float], index: int) -> float:
    """Measure the derivative of the neuron's loss in one leaf by a central difference."""
    up, down = list(leaves), list(leaves)
    up[index] += 1e-5
    down[index] -= 1e-5
    return (neuron(*up) - neuron(*down)) / 2e-5


def wrong_ways(right: float) -> list[tuple[float, str]]:
    """Slips that every leaf shares."""
    return [
        (
            -right,
            "The sign is wrong: a step against your gradient would raise the loss. With e = s − y, ∂e/∂s is +1.",
        ),
        (right / 2, "Exactly half of what it should be: L = e², and its derivative is 2e."),
    ]


@check(BY_HAND, points=1)
def bias_gradient_is_the_measured_slope(learner: Learner) -> None:
    """The gradient with respect to b is what a small change of b does to the loss."""
    for _ in range(5):
        leaves = draw_neuron(learner)
        w, x, b, y = leaves
        v, outer = w * x + b, 2 * (math.tanh(w * x + b) + x - y)
        answer, right = numbers_of(learner, leaves), slope(leaves, 2)
        expect_close(
            answer["loss"], neuron(*leaves), "The loss itself changed. Leave the six given lines as they are."
        )
        expect_close(
            answer["b"],
            right,
            "The gradient with respect to b disagrees with finite differences. Follow b through v, a, s and e to L.",
            diagnoses=[
                *wrong_ways(right),
                (
                    outer,
                    "The gradient with respect to b skips tanh: multiply by ∂a/∂v = 1 − a² on the way back.",
                ),
                (
                    outer * (1 - v**2),
                    "You took tanh's derivative at v: it is 1 − a², with the output a, not 1 − v².",
                ),
                (outer * math.tanh(v), "You multiplied by a itself. The derivative of tanh is 1 − a²."),
            ],
            name="the gradient with respect to b",
        )


@check(BY_HAND, points=1)
def weight_gradient_is_the_measured_slope(learner: Learner) -> None:
    """The gradient with respect to w is what a small change of w does to the loss."""
    for _ in range(5):
        leaves = draw_neuron(learner)
        w, x, _, _ = leaves
        answer, right = numbers_of(learner, leaves), slope(leaves, 0)
        expect_close(
            answer["w"],
            right,
            "The gradient with respect to w disagrees with finite differences. If b is right, only u = w·x is left.",
            diagnoses=[
                *wrong_ways(right),
                (right / x, "The last factor of w is missing: u = w·x, so ∂u/∂w = x."),
                (
                    right / x * w,
                    "You multiplied by w. A product hands on its gradient times the other factor: x.",
                ),
                (
                    answer["b"] * x,
                    "w follows rightly from your gradient with respect to b, but that one is wrong. Mend b first.",
                ),
            ],
            name="the gradient with respect to w",
        )


@check(BY_HAND, points=1)
def input_gradient_adds_both_roads(learner: Learner) -> None:
    """The gradient with respect to x is the sum over both roads from x to the loss."""
    for _ in range(5):
        leaves = draw_neuron(learner)
        w, x, b, y = leaves
        answer, right = numbers_of(learner, leaves), slope(leaves, 1)
        shortcut = 2 * (math.tanh(w * x + b) + x - y)
        expect_close(
            answer["x"],
            right,
            "The gradient with respect to x disagrees with finite differences. Add what comes back along each arrow.",
            diagnoses=[
                (
                    right - shortcut,
                    "Only the road through the neuron is counted. x also reaches s directly: add that share.",
                ),
                (shortcut, "Only the shortcut is counted. x also goes through u = w·x: add that share."),
                (
                    answer["b"] * w + shortcut,
                    "Both roads are there, but the one through the neuron uses a wrong gradient of b. Mend b first.",
                ),
                (
                    (right - shortcut) * shortcut,
                    "The two roads are multiplied. Shares that arrive at a node are added.",
                ),
                *wrong_ways(right),
            ],
            name="the gradient with respect to x",
        )
        none = numbers_of(learner, (0.0, x, b, y))["x"]
        expect_close(
            none,
            slope((0.0, x, b, y), 1),
            "With w = 0 only the shortcut carries x to the loss, and here it does not.",
        )


# Exercise 2: any graph of leaves, sums, products and tanh.

Graph = list[dict[str, Any]]


def node(op: str, *parents: int) -> dict[str, Any]:
    return {"op": op, "parents": list(parents)}


def run(graph: Graph, leaves: list[float], bump: tuple[int, float] = (-1, 0.0)) -> list[float]:
    """Compute the values; `bump` adds a number to one node before it is used."""
    waiting, values = list(leaves), []
    for position, step in enumerate(graph):
        before = [values[parent] for parent in step["parents"]]
        value = {
            "leaf": lambda _: waiting.pop(0),
            "add": sum,
            "mul": math.prod,
            "tanh": lambda pair: math.tanh(pair[0]),
        }[step["op"]](before)
        values.append(value + (bump[1] if position == bump[0] else 0.0))
    return values


def measured(graph: Graph, leaves: list[float]) -> Tensor:
    """Measure the derivative of the last node in every node."""
    slopes = [
        (run(graph, leaves, (k, 1e-5))[-1] - run(graph, leaves, (k, -1e-5))[-1]) / 2e-5
        for k in range(len(graph))
    ]
    return torch.tensor(slopes, dtype=torch.float64)


def walk(
    graph: Graph, values: list[float], *, order: str = "backward", keep: str = "sum", tanh: str = "out"
) -> Tensor:
    """Do what a typical slip does: walk forward, overwrite shares, or take tanh's derivative at the wrong place."""
    grads = [0.0] * len(graph)
    grads[-1] = 1.0
    for k in range(len(graph)) if order == "forward" else reversed(range(len(graph))):
        parents = graph[k]["parents"]
        inside = values[parents[0]] if parents else 0.0
        local = {
            "leaf": [],
            "add": [1.0, 1.0],
            "mul": [values[i] for i in reversed(parents)] if keep != "own" else [values[i] for i in parents],
            "tanh": [
                1 - (values[k] if tanh == "out" else math.tanh(values[k]) if tanh == "twice" else inside) ** 2
            ],
        }[graph[k]["op"]]
        for parent, share in zip(parents, local, strict=True):
            grads[parent] = grads[k] * share + (grads[parent] if keep != "last" else 0.0)
    return torch.tensor(grads, dtype=torch.float64)


def random_graph(learner: Learner, leaves: int, steps: int) -> Graph:
    """Draw a graph whose last node is reached from many others; tanh follows each product, so nothing explodes."""
    graph = [node("leaf") for _ in range(leaves)]

    def pick() -> int:
        return int(torch.randint(len(graph), (), generator=learner.generator))

    for step in range(steps):
        graph.append(node("mul" if step % 2 else "add", len(graph) - 1, pick()))
        graph.append(node("tanh", len(graph) - 1))
    return graph


def list_of(learner: Learner, graph: Graph, values: list[float]) -> Tensor:
    """Call backward and make sure that it returned one number per node."""
    answer = learner.call("backward", graph, values)
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    require(isinstance(answer, (list, tuple)), "The result should be a list with one number per node.")
    require(len(answer) == len(graph), f"wrong length: got {len(answer)} numbers for {len(graph)} nodes.")
    numbers = [item.item() if isinstance(item, Tensor) and item.numel() == 1 else item for item in answer]
    require(
        all(isinstance(item, (int, float)) for item in numbers),
        "The list should hold numbers only, 0.0 for none.",
    )
    return torch.tensor(numbers, dtype=torch.float64)


def agree(learner: Learner, graph: Graph, leaves: list[float], message: str) -> None:
    """Compare the learner's gradients at every node with measured ones, and name the slip if it is a known one."""
    values = run(graph, leaves)
    expect_close(
        list_of(learner, graph, values),
        measured(graph, leaves),
        message,
        diagnoses=[
            (walk(graph, values, keep="last"), "A node that is used twice keeps only one share. Add to its total with +=, don't overwrite it."),
            (walk(graph, values, order="forward"), "You walk from the first node to the last. Walk from the last to the first, so that a node's total is complete when you pass it on."),
            (walk(graph, values, keep="own"), "In a product each parent gets the value of the OTHER parent, not its own."),
            (walk(graph, values, tanh="in"), "tanh's derivative is 1 − (output)²: use values[k], not the value of the parent."),
            (walk(graph, values, tanh="twice"), "values[k] already is tanh of the parent: don't take tanh of it again."),
            (torch.zeros(len(graph)), "Every gradient is 0: the walk has to start with a 1 at the last node."),
        ],
        name="the list of gradients",
    )  # fmt: skip


@check("backward", points=1)
def each_operation_alone_is_right(learner: Learner) -> None:
    """On graphs with a single operation, each parent gets the right share."""
    p, q = uniform(learner, -1.3, 1.3), uniform(learner, -1.3, 1.3)
    for op in ("add", "mul", "tanh"):
        graph = [node("leaf"), node("leaf"), node(op, 1) if op == "tanh" else node(op, 0, 1)]
        agree(learner, graph, [p, q], f"Wrong on a graph of two leaves and a single {op!r}.")


@check("backward", points=1)
def shares_of_a_reused_node_add_up(learner: Learner) -> None:
    """A node that is used several times collects every share."""
    for op in ("add", "mul"):
        twice = [node("leaf"), node("leaf"), node("add", 0, 1), node(op, 2, 2)]
        agree(
            learner,
            twice,
            [uniform(learner, 0.2, 1.2), uniform(learner, 0.2, 1.2)],
            f"Wrong where one node is both parents of {op!r}.",
        )
    fan = [node("leaf"), node("leaf"), node("mul", 0, 1), node("add", 2, 0), node("mul", 3, 0)]
    leaves = [uniform(learner, 0.3, 1.2), uniform(learner, 0.3, 1.2)]
    agree(
        learner,
        fan,
        leaves,
        "Wrong where one leaf feeds three nodes: its gradient is the sum of three shares.",
    )


@check("backward", points=1)
def random_graphs_agree_with_finite_differences(learner: Learner) -> None:
    """On random graphs every gradient is what a small change of that node does to the last node."""
    for steps in (2, 4, 7):
        graph = random_graph(learner, leaves=3, steps=steps)
        leaves = [uniform(learner, -1.2, 1.2) for _ in range(3)]
        agree(
            learner,
            graph,
            leaves,
            f"Some gradients disagree with finite differences on a graph of {len(graph)} nodes.",
        )


@check("backward", points=1)
def dead_ends_get_zero(learner: Learner) -> None:
    """Nodes that don't lead to the last node have gradient 0, and the last node has gradient 1."""
    graph = [
        node("leaf"),
        node("leaf"),
        node("mul", 0, 1),
        node("add", 1, 1),
        node("mul", 3, 2),
        node("add", 2, 0),
    ]
    leaves = [uniform(learner, 0.3, 1.2), uniform(learner, 0.3, 1.2)]
    got = list_of(learner, graph, run(graph, leaves))
    require(got[-1] == 1, "The last node changes as fast as itself: its gradient is 1.")
    require((got[3:5] == 0).all(), "A node that does not lead to the last node must get gradient 0.")
    require((got[:3] != 0).all(), "A node that leads to the last node got gradient 0.")
    alone = list_of(learner, [node("leaf")], [leaves[0]])
    require(alone[0] == 1, "On a graph of one leaf, that leaf is the last node: its gradient is 1.")


# Exercise 3: the linear model.

KEYS = ("loss", "logits", "weight", "bias", "x")


def draw_linear(learner: Learner) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw weight, bias, x and y of sizes that differ from each other."""
    n, d, c = (int(torch.randint(low, low + 3, (), generator=learner.generator)) for low in (7, 11, 3))
    weight = torch.randn(c, d, generator=learner.generator, dtype=torch.float64)
    bias = torch.randn(c, generator=learner.generator, dtype=torch.float64)
    x = torch.rand(n, d, generator=learner.generator, dtype=torch.float64)
    return weight, bias, x, torch.randint(c, (n,), generator=learner.generator)


def reference(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Let autograd do it."""
    weight, bias, x = (item.clone().requires_grad_() for item in (weight, bias, x))
    logits = x @ weight.T + bias
    loss = cross_entropy(logits, y)
    grads = torch.autograd.grad(loss, (logits, weight, bias, x))
    return dict(zip(KEYS, (loss.detach(), *grads), strict=True))


def dict_of(learner: Learner, *arguments: Tensor, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """Call both_gradients and make sure of these keys, of their shapes, and of the caller's tensors."""
    seen = learner.observe("both_gradients", *arguments)
    require(isinstance(seen.value, dict), "The result should be a dict of five tensors.")
    weight, bias, x, _ = arguments
    shapes = dict(zip(KEYS, ((), (len(x), len(bias)), weight.shape, bias.shape, x.shape), strict=True))
    for key in keys:
        require(key in seen.value, f"The dict lacks the key {key!r}.")
        expect_tensor(seen.value[key], shape=shapes[key], name=f"{key!r}")
    for name, before, after in zip(("weight", "bias", "x", "y"), arguments, seen.args, strict=True):
        require(
            torch.equal(before, after),
            f"both_gradients changed the caller's {name}. Don't work in place on arguments.",
        )
    return dict(seen.value)


@check("both_gradients", points=1)
def loss_and_logits_gradient_are_right(learner: Learner) -> None:
    """The loss is the mean cross-entropy, and its gradient with respect to the logits is right."""
    weight, bias, x, y = draw_linear(learner)
    got = dict_of(learner, weight, bias, x, y, keys=("loss", "logits"))
    right = reference(weight, bias, x, y)
    n, p = len(x), (x @ weight.T + bias).softmax(dim=1)
    expect_close(
        got["loss"], right["loss"], "The loss is not the mean cross-entropy of the batch.",
        diagnoses=[
            (right["loss"] * n, "The loss is the sum over the batch. Equation (1) takes the mean."),
            (-right["loss"], "The loss is negative: cross-entropy is MINUS the logarithm of a probability."),
        ],
    )  # fmt: skip
    expect_close(
        got["logits"], right["logits"], "The gradient with respect to the logits is not (p − one-hot) / n.",
        diagnoses=[
            (right["logits"] * n, "The gradient with respect to the logits lacks the 1/n of the mean."),
            (-right["logits"], "The gradient with respect to the logits has the wrong sign: it is p minus one-hot."),
            (p / n, "The one-hot rows are missing: subtract 1 from the probability of the right class."),
        ],
    )  # fmt: skip


@check("both_gradients", points=1)
def weight_and_bias_gradients_agree_with_finite_differences(learner: Learner) -> None:
    """Moving the weights a little changes the loss as the gradients say."""
    weight, bias, x, y = draw_linear(learner)
    got = dict_of(learner, weight, bias, x, y, keys=("weight", "bias"))
    right = reference(weight, bias, x, y)
    n = len(x)
    expect_close(
        got["weight"], right["weight"], "The gradient with respect to the weights disagrees with finite differences.",
        diagnoses=[
            (right["weight"] * n, "The weight gradient is n times too large: it belongs to the sum, the loss is a mean."),
            (right["weight"] / n, "The weight gradient is n times too small: the 1/n of the mean is in it twice."),
            (-right["weight"], "The weight gradient has the wrong sign: training with it would climb."),
        ],
    )  # fmt: skip
    expect_close(
        got["bias"], right["bias"], "The gradient with respect to the bias disagrees with finite differences.",
        diagnoses=[
            (right["bias"] / n, "The bias gradient is a mean over the batch, but the 1/n is already in the logits' gradient: sum."),
            (right["bias"] * n, "The bias gradient is n times too large: it belongs to the sum, the loss is a mean."),
            (-right["bias"], "The bias gradient has the wrong sign."),
        ],
    )  # fmt: skip
    step = 1e-6 * torch.randn(weight.shape, generator=learner.generator, dtype=torch.float64)
    change = cross_entropy(x @ (weight + step).T + bias, y) - cross_entropy(x @ (weight - step).T + bias, y)
    expect_close(
        (got["weight"] * step).sum() * 2, change,
        "A small step of the weights does not change the loss as your gradient predicts.", atol=1e-10,
    )  # fmt: skip


@check("both_gradients", points=1)
def input_gradient_agrees_with_finite_differences(learner: Learner) -> None:
    """Moving the inputs a little changes the loss as the gradient says."""
    weight, bias, x, y = draw_linear(learner)
    got = dict_of(learner, weight, bias, x, y, keys=("x",))
    right = reference(weight, bias, x, y)
    expect_close(
        got["x"], right["x"], "The gradient with respect to x disagrees with finite differences. It is z̄ W.",
        diagnoses=[
            (right["x"] * len(x), "Your x gradient is that of each sample's own loss. \"x\" belongs to the mean: keep the 1/n."),
            (-right["x"], "The gradient with respect to x has the wrong sign."),
            (-weight[y] / len(x), "Only the right class's row of W is used. Every class has a share: multiply the whole z̄ by W."),
        ],
    )  # fmt: skip
    twice = dict_of(learner, weight, bias, torch.cat([x, x]), torch.cat([y, y]), keys=("x",))
    expect_close(
        twice["x"][: len(x)],
        got["x"] / 2,
        "In a batch twice as large each row of the x gradient should halve, and yours does not.",
    )


@check("both_gradients", points=1)
def laws_hold_for_shuffled_and_for_huge_logits(learner: Learner) -> None:
    """Shuffling the batch shuffles the rows, and logits of 1000 give no NaN."""
    weight, bias, x, y = draw_linear(learner)
    used = ("loss", "bias", "x")
    got, order = (
        dict_of(learner, weight, bias, x, y, keys=used),
        torch.randperm(len(x), generator=learner.generator),
    )
    mixed = dict_of(learner, weight, bias, x[order], y[order], keys=used)
    expect_close(
        mixed["x"],
        got["x"][order],
        "With a shuffled batch the rows of the x gradient should be shuffled the same way.",
    )
    expect_close(
        mixed["bias"], got["bias"], "The order of the batch changes your bias gradient. It should not."
    )
    huge = dict_of(learner, weight, bias + 1000, x, y, keys=used)
    require(
        all(bool(huge[key].isfinite().all()) for key in used),
        "Logits of 1000 give NaN or infinity: e^1000 overflows. Use log_softmax, or subtract the largest logit first.",
    )
    expect_close(huge["x"], got["x"], "Adding 1000 to every bias must change no gradient, and yours changed.")


# Exercises 4 and 5 get a white-box model.


def draw_model(learner: Learner, sizes: list[int]) -> sparring.models.MLP:
    """Draw a network with biases, so that its input's origin is nothing special."""
    model = sparring.models.MLP(sizes, generator=learner.generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=learner.generator))
    return model


def unchanged(
    learner: Learner, name: str, model: torch.nn.Module, x: Tensor, y: Tensor, *rest: float
) -> Tensor:
    """Call a function of (model, x, y, ...) and make sure that it left no trace."""
    model.train()
    seen = learner.observe(name, model, x, y, *rest)
    after = seen.args[0]
    require(torch.equal(seen.args[1], x), f"{name} changed the caller's x in place. Work on a clone.")
    require(torch.equal(seen.args[2], y), f"{name} changed the caller's y.")
    require(
        all(torch.equal(value, after.state[key]) for key, value in model.state_dict().items()),
        f"{name} changed the weights of the model.",
    )
    require(
        all(grad is None for grad in after.grads.values()),
        f"{name} left gradients in the model's .grad, where they add up with the next ones. Use torch.autograd.grad on your leaf.",
    )
    require(all(after.training.values()), f"{name} switched the model to eval mode and left it there.")
    require(
        all(after.requires_grad.values()),
        f"{name} switched off requires_grad of the weights and left it off.",
    )
    return expect_tensor(seen.value)


def gradient(model: torch.nn.Module, x: Tensor, y: Tensor, *, loss: bool) -> Tensor:
    """Return each sample's gradient of its cross-entropy, or of the logit of its class."""
    leaf = x.clone().requires_grad_()
    logits = model(leaf)
    number = cross_entropy(logits, y, reduction="sum") if loss else logits[torch.arange(len(y)), y].sum()
    return torch.autograd.grad(number, leaf)[0]


def draw_images(learner: Learner, n: int) -> tuple[Tensor, Tensor]:
    """Draw images of 3 channels, 4 by 5 pixels, and labels of 4 classes."""
    images = torch.rand(n, 3, 4, 5, generator=learner.generator)
    return images, torch.randint(4, (n,), generator=learner.generator)


@check("saliency", points=2)
def maps_are_the_size_of_the_logit_gradient(learner: Learner) -> None:
    """Each map is the size of the gradient of its own class's logit, largest over the channels."""
    images, labels = draw_images(learner, 7)
    for network in (
        sparring.models.Linear(60, 4, generator=learner.generator),
        draw_model(learner, [60, 24, 4]),
    ):
        score = gradient(network, images, labels, loss=False)
        loss = gradient(network, images, labels, loss=True)
        top = gradient(network, images, network(images).argmax(dim=1), loss=False)
        got = expect_tensor(
            learner.call("saliency", network, images, labels), shape=(7, 4, 5), name="the maps"
        )
        expect_close(
            got, score.abs().amax(dim=1), "The maps are not the size of the gradient of the logit of class y.",
            diagnoses=[
                (loss.abs().amax(dim=1), "You differentiated the loss. A saliency map takes the logit of the class y itself."),
                (score.abs().amax(dim=1) / 7, "The maps shrink as the batch grows: you took the mean over the batch. Take the sum."),
                (score.amax(dim=1), "The sign is still there. Take the absolute value before the maximum over the channels."),
                (score.amax(dim=1).abs(), "You took the maximum before the absolute value. A strongly negative channel is lost that way."),
                (score.abs().sum(dim=1), "You added up the channels. Equation (6) takes the largest one."),
                (score.abs().mean(dim=1), "You averaged the channels. Equation (6) takes the largest one."),
                (top.abs().amax(dim=1), "You took the logit of the class that the model predicts. The caller names the class in y."),
            ],
            name="the maps",
        )  # fmt: skip


@check("saliency", points=1)
def a_map_does_not_depend_on_its_batch(learner: Learner) -> None:
    """A picture's map is the same alone, in a batch, and in a shuffled batch."""
    network, (images, labels) = draw_model(learner, [60, 24, 4]), draw_images(learner, 6)
    together = expect_tensor(
        learner.call("saliency", network, images, labels), shape=(6, 4, 5), name="the maps"
    )
    alone = expect_tensor(
        learner.call("saliency", network, images[2:3], labels[2:3]), shape=(1, 4, 5), name="one map"
    )
    expect_close(
        alone[0],
        together[2],
        "A picture's map changes with the other pictures of its batch. Take the sum of the logits, not a mean, and don't normalize over the batch.",
    )
    back = expect_tensor(
        learner.call("saliency", network, images.flip(0), labels.flip(0)), shape=(6, 4, 5), name="the maps"
    )
    expect_close(
        back.flip(0), together, "In a reversed batch the maps come in another order than the pictures."
    )


@check("saliency", points=1)
def looking_leaves_no_trace(learner: Learner) -> None:
    """The pictures, the weights, their gradients and the mode stay as they were."""
    images, labels = draw_images(learner, 4)
    unchanged(learner, "saliency", draw_model(learner, [60, 24, 4]), images, labels)


def losses(model: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return cross_entropy(model(x), y, reduction="none")


@check("raise_loss", points=1)
def one_full_step_uphill_on_a_linear_model(learner: Learner) -> None:
    """On a linear model, far from the bounds, each picture moves by the whole length along its own gradient."""
    network = sparring.models.Linear(12, 4, generator=learner.generator)
    x = 0.4 + 0.2 * torch.rand(9, 3, 2, 2, generator=learner.generator)
    y, length = torch.randint(4, (9,), generator=learner.generator), 0.3
    grad = gradient(network, x, y, loss=True)
    norm = grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    moved = expect_tensor(
        learner.call("raise_loss", network, x, y, length), shape=x.shape, name="the moved pictures"
    )
    pixels = grad.sign() * length / math.sqrt(12)
    expect_close(
        moved, x + length * grad / norm, "On a linear model the loss rises at every length, so each picture should move by exactly `length` along its gradient.",
        diagnoses=[
            (x - length * grad / norm, "You walked downhill: that is a training step. An attack adds the gradient."),
            (x + length * grad / grad.norm(), "You divided by the norm of the whole batch. Each picture has its own norm."),
            (x + length * grad, "You did not divide by the norm of the gradient, so the step is not `length` long."),
            (x + length * grad / norm / 2, "Every picture moved half as far as it could. Try the whole length before you halve."),
            (x + length * grad.sign(), "You took the sign of the gradient. Each pixel then moves by `length`, and the L2 length is far more."),
            (x + pixels, "You took the sign of the gradient. The steepest direction for an L2 length is the gradient itself."),
            (x, "Nothing moved: no trial raised the loss. Usually the sign is wrong: an attack ADDS the gradient."),
        ],
        atol=1e-4, name="the moved pictures",
    )  # fmt: skip


def overshooting(learner: Learner) -> tuple[torch.nn.Module, Tensor, Tensor, Tensor, float]:
    """Draw a steep network, six pictures whose loss falls on a step of the whole length, and six for which it rises.

    The fourth value is where the whole step leads.
    """
    length = 0.3
    for _ in range(100):
        network = draw_model(learner, [8, 24, 3])
        first = network.layers[0]
        with torch.no_grad():  # steep, and bent close to where the pictures lie, far from the bounds
            first.weight.mul_(10)
            first.bias.copy_(torch.randn(24, generator=learner.generator) - first.weight.sum(dim=1) / 2)
        x = 0.4 + 0.2 * torch.rand(400, 8, generator=learner.generator)
        y = network(x).argsort(dim=1)[:, 1]  # the second choice: no gradient has vanished
        grad = gradient(network, x, y, loss=True)
        norm = grad.norm(dim=1, keepdim=True)
        whole = x + length * grad / norm.clamp_min(1e-12)
        change = losses(network, whole, y) - losses(network, x, y)
        falls = ((change < -1e-3) & (norm.flatten() > 0.05)).nonzero().flatten()[:6]
        rises = ((change > 1e-3) & (norm.flatten() > 0.05)).nonzero().flatten()[:6]
        if len(falls) == len(rises) == 6:
            keep = torch.stack([falls, rises], dim=1).flatten()
            return network, x[keep], y[keep], whole[keep], length
    raise AssertionError("no network drawn in 100 tries lets a long step overshoot")


@check("raise_loss", points=2)
def every_loss_rises_even_where_the_whole_step_overshoots(learner: Learner) -> None:
    """Where the whole step is too long, a shorter one is found, for each picture by itself."""
    network, x, y, whole, length = overshooting(learner)
    before = losses(network, x, y)
    moved = expect_tensor(
        learner.call("raise_loss", network, x, y, length), shape=x.shape, name="the moved pictures"
    )
    too_far = "Some picture moved by more than `length`: divide each picture's gradient by its own L2 norm."
    require((moved - x).norm(dim=1).max() <= length + 1e-4, too_far)
    stayed = int((moved == x).all(dim=1).sum())
    require(
        stayed == 0,
        f"{stayed} of {len(x)} pictures did not move, though some step raises their loss. "
        "Halve the length where the loss did not rise.",
    )
    after = losses(network, moved, y)
    require(
        (after > before).all(),
        f"The loss of {int((after <= before).sum())} of {len(x)} pictures did not rise: the step was too long for them. "
        "Look at the loss after the step, and halve the length where it did not rise.",
    )
    works = losses(network, whole, y) > before
    require(
        ((moved - x)[works].norm(dim=1) > (whole - x)[works].norm(dim=1) - 1e-3).all(),
        "Pictures for which the whole length works moved less. "
        "Each picture has a length of its own: halve only the lengths of those that need it.",
    )


@check("raise_loss", points=1)
def pictures_stay_in_range_and_within_the_length(learner: Learner) -> None:
    """Pixels stay in [0, 1], and no picture moves by more than the length."""
    network = draw_model(learner, [60, 24, 4])
    images, labels = draw_images(learner, 16)
    images = (2 * images - 0.5).clamp(0, 1)  # many pixels at the ends of the range
    moved = expect_tensor(
        learner.call("raise_loss", network, images, labels, 0.8),
        shape=images.shape,
        name="the moved pictures",
    )
    require(bool(moved.isfinite().all()), "Some pixels are NaN or infinite.")
    require(
        moved.min() >= 0 and moved.max() <= 1,
        "Some pixels left [0, 1]. Clamp after the step, before you look at the loss.",
    )
    require(
        (moved - images).flatten(1).norm(dim=1).max() <= 0.8 + 1e-4,
        "Some picture moved by more than `length` (L2).",
    )
    require(
        (losses(network, moved, labels) > losses(network, images, labels)).all(),
        "At the ends of the range, some picture's loss did not rise. Compare the losses after clamping.",
    )


@check("raise_loss", points=1)
def careful_with_batches_zeros_and_the_caller(learner: Learner) -> None:
    """A picture's step does not depend on its batch; zero gradient and zero length move nothing; no trace is left."""
    network = draw_model(learner, [60, 24, 4])
    images, labels = draw_images(learner, 5)
    together = unchanged(learner, "raise_loss", network, images, labels, 0.7)
    alone = expect_tensor(
        learner.call("raise_loss", network, images[3:4], labels[3:4], 0.7), shape=(1, 3, 4, 5)
    )
    expect_close(
        alone[0], together[3], "A picture's step changes with the other pictures of its batch.", atol=1e-4
    )
    still = expect_tensor(learner.call("raise_loss", network, images, labels, 0.0), shape=images.shape)
    require(torch.equal(still, images), "With length 0 the pictures must come back unchanged.")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    flat = expect_tensor(learner.call("raise_loss", network, images, labels, 0.7), shape=images.shape)
    require(
        not bool(flat.isnan().any()),
        "A zero gradient gives NaN: you divide 0 by 0. Keep the norm away from 0.",
    )
    require(torch.equal(flat, images), "Where the gradient is zero, the picture must stay where it is.")
