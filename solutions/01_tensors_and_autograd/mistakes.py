"""Wrong answers that learners of lesson 01 really give, and right ones of another shape than the reference."""

from sparring_grader.checks import Alternative, Mistake

BY_HAND = """
def backward_by_hand(w, x, b, y):
    u = w * x
    v = u + b
    a = math.tanh(v)
    s = a + x
    e = s - y
    loss = e**2
    grad_s = 2 * e
    grad_v = {grad_v}
    return {{"loss": loss, "w": {grad_w}, "b": grad_v, "x": {grad_x}}}
"""

ENGINE = """
def backward(graph, values):
    grads = [0.0] * len(graph)
    grads[-1] = 1.0
    for k in {order}:
        op, parents = graph[k]["op"], graph[k]["parents"]
        if op == "add":
            for i in parents:
                grads[i] {keep} grads[k]
        elif op == "mul":
            i, j = parents
            grads[i] {keep} grads[k] * values[{first}]
            grads[j] {keep} grads[k] * values[{second}]
        elif op == "tanh":
            grads[parents[0]] {keep} grads[k] * (1 - values[{at}] ** 2)
    return grads
"""

LINEAR = """
def both_gradients(weight, bias, x, y):
    logits = x @ weight.T + bias
    p = {softmax}
    rows = torch.arange(len(x))
    loss = -p[rows, y].log().mean()
    g = p.clone()
    g[rows, y] -= 1
    {scale}
    return {{"loss": loss, "logits": g, "weight": {grad_weight}, "bias": g.{over}(dim=0), "x": {grad_x}}}
"""

SALIENCY = """
def saliency(model, x, y):
    {leaf}
    logits = model(leaf)
    {backward}
    return {result}
"""

STEP = """
def raise_loss(model, x, y, length):
    column = (-1,) + (1,) * (x.ndim - 1)

    def losses(pictures):
        return F.cross_entropy(model(pictures), y, reduction="none")

    leaf = x.detach().clone().requires_grad_()
    grad = torch.autograd.grad(losses(leaf).{reduce}(), leaf)[0]
    norm = {norm}
    direction = {sign}grad / norm
    lengths = torch.full((len(x),), float(length))
    before = losses(x).detach()
    with torch.no_grad():
        for _ in range({rounds}):
            moved = {moved}
            higher = losses(moved) > before
            if {done}:
                break
            lengths = {shorter}
    {result}
"""


def step(**slip: str) -> str:
    """Return a right answer to exercise 5, with the parts replaced in which a slip lies."""
    right = {
        "reduce": "sum",
        "norm": "grad.flatten(1).norm(dim=1).clamp_min(1e-12).view(column)",
        "sign": "",
        "rounds": "21",
        "moved": "(x + lengths.view(column) * direction).clamp(0, 1)",
        "done": "higher.all()",
        "shorter": "torch.where(higher, lengths, lengths / 2)",
        "result": "return torch.where(higher.view(column), moved, x)",
    }
    return STEP.format(**(right | slip))


def by_hand(**slip: str) -> str:
    """Return a right answer to exercise 1, with a slip in it."""
    right = {"grad_v": "grad_s * (1 - a**2)", "grad_w": "grad_v * x", "grad_x": "grad_v * w + grad_s"}
    return BY_HAND.format(**(right | slip))


def engine(**slip: str) -> str:
    """Return a right answer to exercise 2, with a slip in it."""
    right = {"order": "reversed(range(len(graph)))", "keep": "+=", "first": "j", "second": "i", "at": "k"}
    return ENGINE.format(**(right | slip))


def linear(**slip: str) -> str:
    """Return a right answer to exercise 3, with a slip in it."""
    right = {
        "softmax": "logits.softmax(dim=1)",
        "scale": "g /= len(x)",
        "grad_weight": "g.T @ x",
        "over": "sum",
        "grad_x": "g @ weight",
    }
    return LINEAR.format(**(right | slip))


def look(**slip: str) -> str:
    """Return a right answer to exercise 4, with a slip in it."""
    right = {
        "leaf": "leaf = x.clone().requires_grad_()",
        "backward": "grad = torch.autograd.grad(logits[torch.arange(len(y)), y].sum(), leaf)[0]",
        "result": "grad.abs().amax(dim=1)",
    }
    return SALIENCY.format(**(right | slip))


MISTAKES = [
    Mistake("backward_by_hand", "one_road", by_hand(grad_x="grad_v * w"), "Only the road through the neuron"),
    Mistake("backward_by_hand", "tanh_skipped", by_hand(grad_v="grad_s"), "skips tanh"),
    Mistake(
        "backward_by_hand", "tanh_at_input", by_hand(grad_v="grad_s * (1 - v**2)"), "tanh's derivative at v"
    ),
    Mistake("backward_by_hand", "own_factor", by_hand(grad_w="grad_v * w"), "You multiplied by w"),
    Mistake("backward", "overwrites", engine(keep="="), "keeps only one share"),
    Mistake(
        "backward", "walks_forward", engine(order="range(len(graph))"), "from the first node to the last"
    ),
    Mistake("backward", "own_factor", engine(first="i", second="j"), "value of the OTHER parent"),
    Mistake("backward", "tanh_at_parent", engine(at="parents[0]"), "not the value of the parent"),
    Mistake("both_gradients", "no_mean", linear(scale="pass"), "lacks the 1/n"),
    Mistake("both_gradients", "own_loss", linear(grad_x="g @ weight * len(x)"), "each sample's own loss"),
    Mistake("both_gradients", "transposed", linear(grad_weight="x.T @ g"), "wrong shape of 'weight'"),
    Mistake("both_gradients", "mean_twice", linear(over="mean"), "already in the logits' gradient"),
    Mistake(
        "both_gradients",
        "overflow",
        linear(softmax="logits.exp() / logits.exp().sum(dim=1, keepdim=True)"),
        "overflows",
    ),
    Mistake(
        "saliency",
        "of_the_loss",
        look(backward="grad = torch.autograd.grad(F.cross_entropy(logits, y, reduction='sum'), leaf)[0]"),
        "You differentiated the loss",
    ),
    Mistake(
        "saliency",
        "mean_over_batch",
        look(backward="grad = torch.autograd.grad(logits[torch.arange(len(y)), y].mean(), leaf)[0]"),
        "shrink as the batch grows",
    ),
    Mistake(
        "saliency",
        "stale_gradients",
        look(
            backward="logits[torch.arange(len(y)), y].sum().backward()", result="leaf.grad.abs().amax(dim=1)"
        ),
        "left gradients in the model's .grad",
    ),
    Mistake("saliency", "signed", look(result="grad.amax(dim=1)"), "The sign is still there"),
    Mistake("saliency", "channels_kept", look(result="grad.abs()"), "wrong shape of the maps"),
    Mistake(
        "saliency",
        "predicted_class",
        look(backward="grad = torch.autograd.grad(logits.max(dim=1).values.sum(), leaf)[0]"),
        "class that the model predicts",
    ),
    Mistake("raise_loss", "downhill", step(sign="-"), "Usually the sign is wrong"),
    Mistake(
        "raise_loss",
        "downhill_unchecked",
        step(sign="-", rounds="1", result="return moved if length else x"),
        "You walked downhill",
    ),
    Mistake(
        "raise_loss", "one_try", step(rounds="1", result="return moved"), "the step was too long for them"
    ),
    Mistake("raise_loss", "gives_up", step(rounds="1"), "though some step raises their loss"),
    Mistake(
        "raise_loss",
        "norm_of_the_batch",
        step(norm="grad.norm().clamp_min(1e-12)"),
        "Each picture has its own norm",
    ),
    Mistake("raise_loss", "no_clamp", step(moved="x + lengths.view(column) * direction"), "left [0, 1]"),
    Mistake(
        "raise_loss",
        "sign_step",
        step(norm="1.0", moved="(x + lengths.view(column) * direction.sign()).clamp(0, 1)"),
        "You took the sign of the gradient",
    ),
    Mistake(
        "raise_loss",
        "not_a_number",
        step(norm="grad.flatten(1).norm(dim=1).view(column)", result="return moved"),
        "you divide 0 by 0",
    ),
    Mistake(
        "raise_loss",
        "in_place",
        step(result="x.copy_(torch.where(higher.view(column), moved, x)); return x"),
        "changed the caller's x in place",
    ),
    Mistake(
        "raise_loss",
        "whole_batch_halved",
        step(shorter="lengths / 2"),
        "Each picture has a length of its own",
    ),
]

ALTERNATIVES = [
    Alternative(
        "backward_by_hand",
        "one_formula",
        '''
def backward_by_hand(w, x, b, y):
    """The chain rule written out, with no name for what lies between."""
    a = math.tanh(w * x + b)
    outer = 2 * (a + x - y)
    inner = outer / math.cosh(w * x + b) ** 2
    return dict(loss=(a + x - y) ** 2, w=inner * x, b=inner, x=outer + inner * w)
''',
    ),
    Alternative(
        "backward_by_hand",
        "autograd",
        '''
def backward_by_hand(w, x, b, y):
    """Let PyTorch walk."""
    w, x, b = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (w, x, b))
    loss = (torch.tanh(w * x + b) + x - y) ** 2
    loss.backward()
    return {"loss": loss.item(), "w": w.grad.item(), "b": b.grad.item(), "x": x.grad.item()}
''',
    ),
    Alternative(
        "backward",
        "pulls_from_children",
        '''
def backward(graph, values):
    """Each node asks its children for its share, and remembers the answer."""
    known = {len(graph) - 1: 1.0}

    def share(child, slot):
        parents = graph[child]["parents"]
        if graph[child]["op"] == "mul":
            return values[parents[1 - slot]]
        return 1.0 if graph[child]["op"] == "add" else 1 - values[child] ** 2

    def gradient(k):
        if k not in known:
            known[k] = sum(
                gradient(child) * share(child, slot)
                for child in range(k + 1, len(graph))
                for slot, parent in enumerate(graph[child]["parents"])
                if parent == k
            )
        return known[k]

    return [float(gradient(k)) for k in range(len(graph))]
''',
    ),
    Alternative(
        "both_gradients",
        "autograd",
        '''
def both_gradients(weight, bias, x, y):
    """One graph, one backward pass, four leaves and nodes asked for."""
    weight, bias, x = (item.detach().clone().requires_grad_() for item in (weight, bias, x))
    logits = x @ weight.T + bias
    loss = F.cross_entropy(logits, y)
    answers = torch.autograd.grad(loss, (logits, weight, bias, x))
    return dict(zip(("loss", "logits", "weight", "bias", "x"), (loss.detach(), *answers)))
''',
    ),
    Alternative(
        "both_gradients",
        "einsum",
        '''
def both_gradients(weight, bias, x, y):
    """Index by index, with the largest logit taken off before the exponential."""
    n = x.shape[0]
    z = torch.einsum("nd,cd->nc", x, weight) + bias
    z = z - z.max(dim=1, keepdim=True).values
    total = z.exp().sum(dim=1, keepdim=True)
    g = z.exp() / total / n
    for i in range(n):
        g[i, y[i]] -= 1 / n
    loss = (total.log().squeeze(1) - z.gather(1, y[:, None]).squeeze(1)).sum() / n
    return {
        "loss": loss,
        "logits": g,
        "weight": torch.einsum("nc,nd->cd", g, x),
        "bias": torch.einsum("nc->c", g),
        "x": torch.einsum("nc,cd->nd", g, weight),
    }
''',
    ),
    Alternative(
        "saliency",
        "one_by_one",
        '''
def saliency(model, x, y):
    """One backward pass per picture."""
    maps = []
    for picture, label in zip(x, y):
        leaf = picture.detach()[None].clone().requires_grad_()
        (grad,) = torch.autograd.grad(model(leaf)[0, label], leaf)
        maps.append(grad[0].abs().max(dim=0).values)
    return torch.stack(maps)
''',
    ),
    Alternative(
        "raise_loss",
        "one_by_one",
        '''
def raise_loss(model, x, y, length):
    """Picture by picture, with a loop that stops as soon as the loss has risen."""
    results = []
    for picture, label in zip(x.split(1), y.split(1)):
        leaf = picture.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(leaf), label)
        (grad,) = torch.autograd.grad(loss, leaf)
        best, size = picture, length
        for _ in range(21):
            if grad.norm() == 0:
                break
            trial = torch.clamp(picture + size * grad / grad.norm(), 0.0, 1.0)
            if F.cross_entropy(model(trial), label).item() > loss.item():
                best = trial.detach()
                break
            size = size / 2
        results.append(best)
    return torch.cat(results)
''',
    ),
    Alternative(
        "raise_loss",
        "all_lengths_at_once",
        '''
def raise_loss(model, x, y, length):
    """Try every halving at once and take the longest that works."""
    leaf = x.detach().clone().requires_grad_()
    before = F.cross_entropy(model(leaf), y, reduction="none")
    (grad,) = torch.autograd.grad(before.sum(), leaf)
    unit = F.normalize(grad.flatten(1), dim=1).view_as(x)
    best = x.clone()
    with torch.no_grad():
        for k in reversed(range(21)):
            trial = (x + length / 2**k * unit).clamp(0, 1)
            rises = F.cross_entropy(model(trial), y, reduction="none") > before
            best[rises] = trial[rises]
    return best
''',
    ),
]
