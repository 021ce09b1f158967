"""Hidden checks of lesson 05: properties of a learner's MLP, FGSM, linearization and sweep on fresh inputs."""

import torch
from torch.nn import functional as F

from sparring.models import MLP, Linear
from sparring_grader.checks import (
    CheckFailed,
    Learner,
    Oracle,
    check,
    expect_close,
    expect_tensor,
    require,
)


def whole(generator, low, high):
    """Draw a whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def between(generator, low, high):
    """Draw a number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def fresh_generator(generator):
    """Return a generator with a fresh seed."""
    return torch.Generator().manual_seed(whole(generator, 0, 2**31))


def two_results(value, function, names):
    """Return the two tensors that a learner's function returned."""
    require(
        isinstance(value, (tuple, list)) and len(value) == 2,
        f"{function} should return two tensors, ({names[0]}, {names[1]}).",
    )
    return value[0], value[1]


# --- init_mlp ----------------------------------------------------------------------------------------------


EQUAL_WEIGHTS = "All weights of a layer are equal, so all its units stay equal in training."


def drawn_layers(learner, sizes, generator):
    """Call init_mlp and return its layers once they have the right form."""
    layers = learner.call("init_mlp", sizes, generator)
    require(isinstance(layers, (list, tuple)), "init_mlp should return a list of pairs (W, b).")
    require(
        len(layers) == len(sizes) - 1,
        f"{len(sizes)} sizes make {len(sizes) - 1} layers, one between neighbors; you returned {len(layers)}.",
    )
    for number, (layer, fan_in, fan_out) in enumerate(zip(layers, sizes[:-1], sizes[1:], strict=True), 1):
        require(
            isinstance(layer, (list, tuple)) and len(layer) == 2,
            f"Layer {number} should be a pair (W, b).",
        )
        weight, bias = layer
        if isinstance(weight, torch.Tensor) and tuple(weight.shape) == (fan_in, fan_out) != (fan_out, fan_in):
            raise CheckFailed(
                f"wrong shape of W in layer {number}: got {(fan_in, fan_out)}, expected {(fan_out, fan_in)}. You "
                "swapped fan_in and fan_out: a row of W belongs to one output."
            )
        expect_tensor(weight, shape=(fan_out, fan_in), name=f"W in layer {number}")
        expect_tensor(bias, shape=(fan_out,), name=f"b in layer {number}")
    return [(weight, bias) for weight, bias in layers]


@check("init_mlp", points=1)
def makes_one_layer_between_neighbors(learner: Learner) -> None:
    """One pair (W, b) per layer, with W of shape (fan_out, fan_in)."""
    for hidden_layers in (0, 1, 3):
        sizes = [whole(learner.generator, 3, 40) for _ in range(hidden_layers + 2)]
        drawn_layers(learner, sizes, fresh_generator(learner.generator))


@check("init_mlp", points=1)
def starts_with_zero_biases(learner: Learner) -> None:
    """All biases are zero."""
    sizes = [whole(learner.generator, 20, 60) for _ in range(3)]
    for weight, bias in drawn_layers(learner, sizes, fresh_generator(learner.generator)):
        require(weight.unique().numel() > 1, EQUAL_WEIGHTS)
        require((bias == 0).all(), "Some bias is not zero. Only the weights need random numbers.")


@check("init_mlp", points=1)
def draws_weights_of_variance_two_over_fan_in(learner: Learner) -> None:
    """Weights have mean 0 and variance 2 / fan_in."""
    generator = learner.generator
    sizes = [whole(generator, 200, 300), whole(generator, 500, 600), whole(generator, 300, 400)]
    layers = drawn_layers(learner, sizes, fresh_generator(generator))
    for (weight, _), fan_in, fan_out in zip(layers, sizes[:-1], sizes[1:], strict=True):
        weight = weight.double()
        variance = float(weight.var())
        require(variance > 0, EQUAL_WEIGHTS)
        require(
            abs(float(weight.mean())) < 6 * (variance / weight.numel()) ** 0.5,
            "The mean of the weights is not 0. torch.rand draws from 0 to 1; torch.randn is symmetric around 0.",
        )
        # 100,000 draws and more: chance moves the variance by about half a percent.
        guesses = [
            (4 / fan_in**2, "You used 2 / fan_in as the standard deviation. It is the variance: take its square root."),
            (1 / fan_in, "The variance is 1 / fan_in. ReLU drops half of the mean square, so you need twice as much."),
            (2 / fan_out, "The variance is 2 / fan_out. What adds up in a unit are its inputs: use fan_in."),
            (2 / (fan_in + fan_out), "The variance is 2 / (fan_in + fan_out). That is Glorot's rule, for layers without ReLU."),
            (1.0, "The weights have variance 1 whatever the layer's width. Scale them."),
        ]  # fmt: skip
        for guess, message in guesses:
            require(abs(variance / guess - 1) > 0.05, message)
        require(
            abs(variance * fan_in / 2 - 1) < 0.05,
            "The variance of the weights is not 2 / fan_in. If a random number is multiplied by c, its variance is "
            "multiplied by c squared.",
        )


@check("init_mlp", points=1)
def draws_every_weight_from_the_generator(learner: Learner) -> None:
    """The generator decides the weights, and every weight is its own draw."""
    width = whole(learner.generator, 20, 40)
    seed = whole(learner.generator, 0, 2**31)
    first, again, other = (
        drawn_layers(learner, [width, width, width], torch.Generator().manual_seed(seed + step))
        for step in (0, 0, 1)
    )
    require(
        torch.equal(first[0][0], again[0][0]) and torch.equal(first[1][0], again[1][0]),
        "Two calls with equal generators gave different weights. Pass generator= on to each random draw.",
    )
    require(
        not torch.equal(first[0][0], other[0][0]),
        "Another generator gave the same weights. Don't seed anything yourself; draw from the generator you are given.",
    )
    require(
        not torch.equal(first[0][0], first[1][0]),
        "Two layers of the same shape got the same weights. Make each layer's draw from the one generator, in turn.",
    )
    rows = first[0][0]
    require(
        torch.unique(rows, dim=0).shape[0] == width,
        "Units of one layer start with equal weights, so they stay equal in training. Draw fan_out × fan_in numbers.",
    )


# --- mlp_logits --------------------------------------------------------------------------------------------


def random_params(generator, sizes):
    """Return layers with weights and biases of ordinary size."""
    return [
        (torch.randn(fan_out, fan_in, generator=generator) / fan_in**0.5, torch.randn(fan_out, generator=generator))
        for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True)
    ]  # fmt: skip


def forward(params, x, *, hidden=torch.relu, bias=True, transposed=False):
    """Return the logits, or what one gets with one thing done wrong."""
    h = x.flatten(1)
    for index, (weight, offset) in enumerate(params):
        h = h @ (weight if transposed else weight.T) + (offset if bias else 0)
        if index < len(params) - 1:
            h = hidden(h)
    return h


@check("mlp_logits", points=1)
def computes_the_network(learner: Learner) -> None:
    """Logits of small networks, ReLU after each hidden layer only."""
    # Square layers, so that a missing transpose gives numbers instead of an error.
    width, count = whole(learner.generator, 4, 7), whole(learner.generator, 20, 30)
    params = random_params(learner.generator, [width] * 4)
    x = torch.rand(count, width, generator=learner.generator)
    logits = expect_tensor(learner.call("mlp_logits", params, x), shape=(count, width), name="the logits")
    truth = forward(params, x)
    diagnoses = [
        (truth.relu(), "You put a ReLU on the output. Logits may be negative: the last layer has none."),
        (truth.softmax(dim=1), "You returned probabilities. Leave the softmax to the loss, or it is applied twice."),
        (truth.log_softmax(dim=1), "You returned log-probabilities. Leave the softmax to the loss."),
        (forward(params, x, hidden=lambda h: h), "There is no ReLU between the layers: the network is one matrix."),
        (forward(params, x, bias=False), "The biases are missing."),
        (forward(params, x, transposed=True), "The weights are transposed. W has shape (fan_out, fan_in): multiply by W.T."),
        (forward(params, x, hidden=torch.sigmoid), "You used a sigmoid between the layers instead of a ReLU."),
        (forward(params, x, hidden=torch.tanh), "You used tanh between the layers instead of a ReLU."),
    ]  # fmt: skip
    expect_close(
        logits, truth, "The logits are not those of the network. Check each layer on paper, with two units.",
        diagnoses=diagnoses, atol=1e-4, name="the logits",
    )  # fmt: skip


@check("mlp_logits", points=1)
def takes_images_of_any_size(learner: Learner) -> None:
    """Images are flattened, whatever their size and number; params may hold a single layer."""
    for hidden_layers, count in ((0, 3), (1, 1), (2, 5)):
        side, classes = whole(learner.generator, 2, 6), whole(learner.generator, 2, 5)
        middle = [whole(learner.generator, 3, 9) for _ in range(hidden_layers)]
        params = random_params(learner.generator, [side * side, *middle, classes])
        x = torch.rand(count, 1, side, side, generator=learner.generator)
        logits = learner.call("mlp_logits", params, x)
        require(
            not (isinstance(logits, torch.Tensor) and count == 1 and tuple(logits.shape) == (classes,)),
            f"wrong shape of the logits: got ({classes},), expected (1, {classes}). You lost the batch dimension of a "
            "batch of one.",
        )
        logits = expect_tensor(logits, shape=(count, classes), name="the logits")
        truth = forward(params, x)
        expect_close(
            logits, truth, f"The logits of a network with {hidden_layers} hidden layers are wrong. Is the last layer "
            "without a ReLU, also when it is the only one?",
            diagnoses=[(truth.relu(), "You put a ReLU on the output. Logits may be negative: the last layer has none.")],
            atol=1e-4, name="the logits",
        )  # fmt: skip


@check("mlp_logits", points=1)
def treats_each_sample_alone(learner: Learner) -> None:
    """A sample's logits don't depend on its batch, and nothing of the caller's changes."""
    params = random_params(learner.generator, [6, 8, 3])
    x = torch.randn(7, 6, generator=learner.generator)
    observed = learner.observe("mlp_logits", params, x)
    logits = expect_tensor(observed.value, shape=(7, 3), name="the logits")
    require(not torch.equal(logits[0], logits[1]), "Two different samples got the same logits.")
    require(torch.equal(observed.args[1], x), "You changed the caller's x in place.")
    kept = all(
        torch.equal(before, after)
        for layer, layer_after in zip(params, observed.args[0], strict=True)
        for before, after in zip(layer, layer_after, strict=True)
    )
    require(kept, "You changed the caller's weights or biases in place.")
    alone = expect_tensor(
        learner.call("mlp_logits", params, x[3:4]), shape=(1, 3), name="the logits of one sample"
    )
    expect_close(
        alone, logits[3:4], "A sample's logits change with its batch. Nothing in an MLP mixes samples.", atol=1e-4,
        name="the logits of one sample",
    )  # fmt: skip


# --- fgsm --------------------------------------------------------------------------------------------------


def image_gradient(model, x, y):
    """Return each image's gradient of its own cross-entropy."""
    probe = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(probe), y, reduction="sum"), probe)
    return gradient


def images_and_model(generator):
    """Return a small white-box model, images with some pixels at the ends of the range, labels and a budget."""
    side, classes, count = whole(generator, 4, 6), whole(generator, 3, 5), whole(generator, 6, 9)
    model = MLP([side * side, 16, classes], generator=generator).eval()
    x = (1.4 * torch.rand(count, 1, side, side, generator=generator) - 0.2).clamp(0, 1)
    y = torch.randint(0, classes, (count,), generator=generator)
    return model, x, y, between(generator, 0.05, 0.2)


NOTHING_MOVED = "x_adv is x: no pixel of any image moved."


def attacked(learner, model, x, y, eps):
    """Call fgsm and return its result once it is finite and of the right shape."""
    x_adv = expect_tensor(learner.call("fgsm", model, x, y, eps), shape=x.shape, name="x_adv")
    require(
        torch.isfinite(x_adv).all(),
        "x_adv holds NaN or infinity. A gradient divided by its own size is 0 / 0 where it is zero; .sign() is safe.",
    )
    require(eps == 0 or not torch.equal(x_adv, x), NOTHING_MOVED)
    return x_adv


@check("fgsm", points=1)
def stays_in_the_ball_and_in_the_range(learner: Learner) -> None:
    """x_adv lies within eps of x and inside [0, 1]."""
    model, x, y, eps = images_and_model(learner.generator)
    x_adv = attacked(learner, model, x, y, eps)
    require(
        x_adv.min() >= 0 and x_adv.max() <= 1,
        "Some pixels left [0, 1], so x_adv is not an image. Clamp the result.",
    )
    require(
        (x_adv - x).abs().max() <= eps + 1e-6,
        "Some pixel moved by more than eps. Each pixel's step is eps times a sign, counted from x.",
    )


@check("fgsm", points=1)
def steps_along_the_sign_of_the_gradient(learner: Learner) -> None:
    """Each pixel moves by eps in the direction that raises the loss."""
    model, x, y, eps = images_and_model(learner.generator)
    y = model(x).argmin(dim=1)  # never the predicted class, so that the label in use shows
    gradient = image_gradient(model, x, y)
    # Where the gradient is all but zero, rounding may decide its sign: these pixels are not compared.
    clear = gradient.abs() > 1e-5 * gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    truth = (x + eps * gradient.sign()).clamp(0, 1)
    x_adv = torch.where(clear, attacked(learner, model, x, y, eps), truth)

    def wrong(step):
        return torch.where(clear, (x + step).clamp(0, 1), truth)

    length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
    largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    guessed = image_gradient(model, x, model(x).argmax(dim=1))
    not_sign = "You stepped along the gradient itself. Under a budget per pixel, each pixel moves by eps: take the sign."
    units = "The steps have the right signs but not the size eps. eps is in the images' own units, where 1 is white."
    diagnoses = [
        (wrong(-eps * gradient.sign()), "You went downhill: the loss fell. An attack adds the step, training subtracts it."),
        (wrong(eps * guessed.sign()), "You climbed the loss of the predicted label. Use the label y that you are given."),
        (wrong(-eps * guessed.sign()), "You went toward a label of the model's choice. Climb the loss of the label y."),
        (wrong(eps * gradient.sum(0, keepdim=True).sign()), "All images got one perturbation: you summed the gradient over the batch."),
        *((wrong(eps * step), not_sign) for step in (gradient, gradient / len(x), gradient / length, gradient / largest, gradient / gradient.abs().max())),
        *((wrong(eps * factor * gradient.sign()), units) for factor in (1 / 255, 0.3081, 1 / 0.3081, 0.5, 2)),
    ]  # fmt: skip
    expect_close(
        x_adv, truth, "x_adv is not x moved by eps along the sign of the gradient and then clamped. Take the gradient at x "
        "of the cross-entropy of y, with respect to the images.", diagnoses=diagnoses, name="x_adv",
    )  # fmt: skip


@check("fgsm", points=1)
def reaches_the_worst_case_of_a_linear_model(learner: Learner) -> None:
    """On a linear model with two classes, the margin falls by exactly eps times an L1 norm."""
    generator = learner.generator
    features, eps = whole(generator, 5, 20), between(generator, 0.05, 0.2)
    model = Linear(features, 2, generator=generator).eval()
    x = 0.3 + 0.4 * torch.rand(6, features, generator=generator)  # so far inside that no pixel is clamped
    y = torch.randint(0, 2, (6,), generator=generator)
    x_adv = attacked(learner, model, x, y, eps)
    sign = 1.0 - 2.0 * y
    with torch.no_grad():
        columns = model(torch.eye(features)) - model(torch.zeros(1, features))
        fall = sign * ((model(x) - model(x_adv)) @ torch.tensor([1.0, -1.0]))
    best = eps * (columns[:, 0] - columns[:, 1]).abs().sum().expand(6)
    expect_close(
        fall, best, "On a linear model FGSM reaches the worst case exactly: no allowed change lowers the margin more. "
        "Yours falls short of it.", diagnoses=[(-best, "The margin rose: you helped the model. Climb the loss.")],
        atol=1e-4, name="the margin's fall",
    )  # fmt: skip


@check("fgsm", points=1)
def moves_no_pixel_without_gradient(learner: Learner) -> None:
    """A pixel with gradient 0 stays where it is, and eps=0 returns the images unchanged."""
    model, x, y, eps = images_and_model(learner.generator)
    features = x[0].numel()
    dead = torch.randperm(features, generator=learner.generator)[: features // 3]
    with torch.no_grad():
        next(model.parameters())[:, dead] = 0.0
    x_adv = attacked(learner, model, x, y, eps)
    require(
        torch.equal(x_adv.flatten(1)[:, dead], x.flatten(1)[:, dead]),
        "A pixel moved although its gradient is exactly 0. A comparison such as g >= 0 takes 0 for a direction; .sign() does not.",
    )
    require(
        torch.equal(attacked(learner, model, x, y, 0.0), x),
        "With eps=0 you changed the images. Start from x itself and add nothing but eps times a sign.",
    )


@check("fgsm", points=1)
def attacks_each_image_alone(learner: Learner) -> None:
    """An image's result does not depend on the other images of its batch."""
    model, x, y, eps = images_and_model(learner.generator)
    gradient = image_gradient(model, x, y)
    clear = gradient.abs() > 1e-5 * gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    together = attacked(learner, model, x, y, eps)
    for index in range(3):
        one = slice(index, index + 1)
        alone = attacked(learner, model, x[one], y[one], eps)
        expect_close(
            torch.where(clear[one], alone, together[one]), together[one], "An image got another perturbation alone than in a "
            "batch. Its gradient must come from its own loss only: no norm, mean or maximum over the batch.",
            name="x_adv",
        )  # fmt: skip


@check("fgsm", points=1)
def leaves_the_caller_alone(learner: Learner) -> None:
    """Images, weights, gradients and the model's mode are as they were."""
    for training in (False, True):
        model, x, y, eps = images_and_model(learner.generator)
        observed = learner.observe("fgsm", model.train(training), x, y, eps)
        x_adv = expect_tensor(observed.value, shape=x.shape, name="x_adv")
        after = observed.args[0]
        require(
            torch.equal(observed.args[1], x),
            "You changed the caller's x in place. Work on a copy: x.detach().clone().",
        )
        require(
            all(gradient is None for gradient in after.grads.values()),
            "You left gradients on the model's weights: the owner's next training step would use them. torch.autograd.grad "
            "with respect to the images touches no weight.",
        )
        require(
            all(mode == training for mode in after.training.values()),
            "You changed the model's train or eval mode. Leave it as you found it.",
        )
        require(
            all(after.requires_grad.values()),
            "You switched off requires_grad on the model's weights. The owner can't train it any more.",
        )
        same = all(torch.equal(value, after.state[name]) for name, value in model.state_dict().items())
        require(same, "You changed the model's weights. An attack moves images only.")
        require(not torch.equal(x_adv, x), NOTHING_MOVED)


# --- loss_rise ---------------------------------------------------------------------------------------------


def random_step(generator):
    """Return a model, images, perturbed images that no gradient was asked for, and labels."""
    model, x, y, eps = images_and_model(generator)
    x_adv = (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
    return model, x, x_adv, y


@check("loss_rise", points=1)
def measures_the_actual_rise(learner: Learner) -> None:
    """The actual rise is the loss at x_adv minus the loss at x, per image."""
    model, x, x_adv, y = random_step(learner.generator)
    value = learner.call("loss_rise", model, x, x_adv, y)
    _, actual = two_results(value, "loss_rise", ("predicted", "actual"))
    actual = expect_tensor(actual, shape=(len(x),), name="actual")
    with torch.no_grad():
        before, after = (F.cross_entropy(model(images), y, reduction="none") for images in (x, x_adv))
    diagnoses = [
        (
            before - after,
            "The sign of the actual rise is turned round: it is the loss at x_adv minus the loss at x.",
        ),
        (after, "You returned the loss at x_adv. The rise is its difference to the loss at x."),
        (
            (after - before) / len(x),
            "You divided the actual rise by the number of images: each image counts alone.",
        ),
        (
            (after - before).mean().expand(len(x)),
            "All images got the same rise: you averaged over the batch.",
        ),
    ]
    expect_close(
        actual, after - before, "The actual rise is not the cross-entropy at x_adv minus that at x, per image.",
        diagnoses=diagnoses, name="actual",
    )  # fmt: skip


@check("loss_rise", points=1)
def predicts_with_the_tangent_at_x(learner: Learner) -> None:
    """The predicted rise is the gradient at x times the perturbation, summed over each image's pixels."""
    model, x, x_adv, y = random_step(learner.generator)
    value = learner.call("loss_rise", model, x, x_adv, y)
    predicted, _ = two_results(value, "loss_rise", ("predicted", "actual"))
    predicted = expect_tensor(predicted, shape=(len(x),), name="predicted")
    gradient, late, delta = image_gradient(model, x, y), image_gradient(model, x_adv, y), x_adv - x
    truth = (gradient * delta).flatten(1).sum(dim=1)
    slope = gradient.flatten(1).abs().sum(dim=1)
    upper_bound = "You computed eps times the L1 norm of the gradient: the best step's rise. Use the perturbation as it is."
    diagnoses = [
        (truth / len(x), "You divided the predicted rise by the number of images: the gradient of a mean is n times too small."),
        (-truth, "The sign of the predicted rise is turned round. The perturbation is x_adv - x."),
        ((late * delta).flatten(1).sum(dim=1), "You took the gradient at x_adv. The tangent touches the loss at x."),
        ((gradient * delta).flatten(1).mean(dim=1), "You averaged over the pixels. A dot product is a sum."),
        ((gradient * delta).abs().flatten(1).sum(dim=1), "You summed absolute values. Pixels that lower the loss count too, with a minus."),
        (slope * delta.flatten(1).abs().amax(dim=1), upper_bound),
        (slope * delta.abs().max(), upper_bound),
        (truth.sum().expand(len(x)), "All images got the same prediction: you summed over the batch."),
    ]  # fmt: skip
    expect_close(
        predicted, truth, "The predicted rise is not the dot product of the gradient at x and x_adv - x, image by image.",
        diagnoses=diagnoses, name="predicted",
    )  # fmt: skip


@check("loss_rise", points=1)
def measures_without_a_trace(learner: Learner) -> None:
    """Nothing of the caller's changes; on a linear model the tangent touches the loss from below."""
    model, x, x_adv, y = random_step(learner.generator)
    observed = learner.observe("loss_rise", model.train(), x, x_adv, y)
    two_results(observed.value, "loss_rise", ("predicted", "actual"))
    after = observed.args[0]
    unchanged = torch.equal(observed.args[1], x) and torch.equal(observed.args[2], x_adv)
    require(unchanged, "You changed the caller's x or x_adv in place. Work on a copy.")
    require(
        all(gradient is None for gradient in after.grads.values()),
        "You left gradients on the model's weights. torch.autograd.grad with respect to the images touches no weight.",
    )
    require(
        all(after.training.values()), "You changed the model's train or eval mode. Leave it as you found it."
    )
    flat = Linear(x[0].numel(), 4, generator=learner.generator)
    for share in (1.0, 0.01):
        near = x + share * (x_adv - x)
        value = learner.call("loss_rise", flat, x, near, y % 4)
        predicted, actual = two_results(value, "loss_rise", ("predicted", "actual"))
        for name, tensor in (("predicted", predicted), ("actual", actual)):
            expect_tensor(tensor, shape=(len(x),), name=name)
        require(actual.abs().max() > 0, "The actual rise is 0 although the images changed.")
        require(
            (actual >= predicted - 1e-5).all(),
            "On a linear model your tangent lies above the loss. A convex function is never below its tangent.",
        )
    expect_close(
        predicted, actual, "For a small step the tangent should foresee the rise almost exactly. Yours does not.",
        atol=2e-5, rtol=0.05, name="predicted",
    )  # fmt: skip


# --- robust_curve ------------------------------------------------------------------------------------------


class World:
    """Images whose fate under each eps is planted: a model that reads a pixel, and an attack that follows a table.

    Image i is (i / 100, read / 10): its number and the class that the model reads. `correct[i, j]` says whether the
    attack at the j-th eps leaves image i correctly read; column 0 is the state before the attack.
    """

    def __init__(self, generator, *, comebacks):
        self.eps_values = sorted(
            round(float(value), 4)
            for value in 0.01 + 0.3 * torch.rand(whole(generator, 3, 5), generator=generator)
        )
        steps, missed = len(self.eps_values), whole(generator, 3, 5)
        # Each image falls at some step; one stands to the end, one falls at once, those missed were never right.
        falls = (
            [0] * missed
            + [1, steps + 1]
            + [whole(generator, 1, steps + 1) for _ in range(whole(generator, 8, 14))]
        )
        falls = torch.tensor(falls)[torch.randperm(len(falls), generator=generator)]
        self.correct = torch.arange(steps + 1) < falls[:, None]
        self.honest = self.correct.clone()
        if comebacks:
            # The attack mends an image that was misread before, and spares in the end one that fell at once.
            self.correct[int((falls == 0).nonzero()[0]), 1:] = True
            self.correct[int((falls == 1).nonzero()[0]), -1] = True
        self.count = len(falls)
        self.y = torch.randint(0, 4, (self.count,), generator=generator)
        self.x = torch.stack([torch.arange(self.count) / 100, self.shown(torch.arange(self.count), 0)], dim=1)
        self.complaint = None
        self.attacked = set()

    def shown(self, ids, step):
        """Return the pixel that makes the model read each image rightly or wrongly."""
        return torch.where(self.correct[ids, step], self.y[ids], (self.y[ids] + 1) % 4) / 10

    def model(self, x):
        """Return logits that are largest at the class written in the image's second pixel."""
        return F.one_hot((10 * x[:, 1]).round().long().clamp(0, 3), 4).float()

    def attack(self, x, y, eps):
        """Return the images as the table says for this eps."""
        ids = (100 * x[:, 0]).round().long().clamp(0, self.count - 1)
        if not torch.allclose(x, self.x[ids]):
            self.complaint = (
                "You attacked images that an earlier attack had changed. Start each attack from x, or the steps add up and "
                "leave the budget."
            )
        nearest = min(range(len(self.eps_values)), key=lambda step: abs(self.eps_values[step] - float(eps)))
        if abs(self.eps_values[nearest] - float(eps)) > 1e-6:
            self.complaint = "You called the attack with an eps that is not in eps_values."
        self.attacked.add(nearest)
        return torch.stack([x[:, 0], self.shown(ids, nearest + 1)], dim=1)

    def ask(self, learner):
        """Call robust_curve and return (robust, success), each of shape (number of eps values,)."""
        model = Oracle(self.model, max_calls=2000, name="model")
        attack = Oracle(self.attack, max_calls=2000, name="attack")
        value = learner.call("robust_curve", model, attack, self.x, self.y, self.eps_values)
        robust, success = two_results(value, "robust_curve", ("robust", "success"))
        shape = (len(self.eps_values),)
        return expect_tensor(robust, shape=shape, name="robust"), expect_tensor(
            success, shape=shape, name="success"
        )


COMEBACK = (
    "An image that had fallen at a smaller eps counts as standing again. The larger box holds the old break too: "
    "what fell stays fallen."
)
MISREAD = (
    "An image that was misread before the attack counts as standing, because the attack happened to mend it. Only images that "
    "are read correctly without attack can stand."
)


@check("robust_curve", points=1)
def counts_robust_accuracy_over_all_images(learner: Learner) -> None:
    """Robust accuracy is a share of all images."""
    world = World(learner.generator, comebacks=False)
    robust, _ = world.ask(learner)
    standing = world.honest[:, 1:].sum(dim=0)
    before = world.honest[:, 0].sum()
    expect_close(
        robust, standing / world.count, "robust is not the share of images that stand at each eps.", name="robust",
        diagnoses=[
            (standing / before, "You divided the robust accuracy by the images read correctly before the attack. It is a share of "
             "all images: those misread without attack are lost too."),
            (1 - standing / world.count, "You returned the share that fell, not the share that stands."),
            (standing, "You returned a count. Divide it by the number of images."),
            (world.honest[:, :-1].sum(dim=0) / world.count, "The curve is shifted: its first entry belongs to the first eps."),
        ],
    )  # fmt: skip


@check("robust_curve", points=1)
def counts_success_over_images_that_were_right(learner: Learner) -> None:
    """The success rate is a share of the images that were read correctly before the attack."""
    world = World(learner.generator, comebacks=False)
    _, success = world.ask(learner)
    standing = world.honest[:, 1:].sum(dim=0)
    before = world.honest[:, 0].sum()
    credit = "You gave the attack credit for images that were misread before it."
    expect_close(
        success, (before - standing) / before, "success is not the share that fell among those read correctly before.",
        name="success",
        diagnoses=[
            ((before - standing) / world.count, "You divided the success rate by all images. The attack can only break what was "
             "right before: divide by that number."),
            ((world.count - standing) / world.count, credit + " Both its numerator and its denominator leave them out."),
            ((world.count - standing) / before, credit),
            (standing / before, "You returned the share that stands, not the share that fell."),
        ],
    )  # fmt: skip


@check("robust_curve", points=1)
def lets_no_fallen_image_stand_again(learner: Learner) -> None:
    """What fell at a smaller eps, or was misread before, never stands again."""
    world = World(learner.generator, comebacks=True)
    robust, success = world.ask(learner)
    before = world.correct[:, 0]
    truth = world.honest[:, 1:]
    memoryless = before[:, None] & world.correct[:, 1:]
    forgiving = world.correct[:, 1:].cummin(dim=1).values
    raw = world.correct[:, 1:]
    expect_close(
        robust, truth.float().mean(dim=0), "robust is wrong when an attack at a larger eps spares an image that had fallen. "
        "What fell stays fallen.", name="robust",
        diagnoses=[
            (memoryless.float().mean(dim=0), COMEBACK),
            (forgiving.float().mean(dim=0), MISREAD),
            (raw.float().mean(dim=0), COMEBACK),
            (raw.sum(dim=0) / before.sum(), COMEBACK),
            (memoryless.sum(dim=0) / before.sum(), COMEBACK),
        ],
    )  # fmt: skip
    require(
        (success[1:] >= success[:-1] - 1e-6).all(),
        "The success rate falls from one eps to a larger one. What fell stays fallen.",
    )


@check("robust_curve", points=1)
def starts_each_attack_from_the_clean_images(learner: Learner) -> None:
    """Each attack gets the clean images and its own eps, and attacking with no effect costs nothing."""
    world = World(learner.generator, comebacks=False)
    robust, _ = world.ask(learner)
    require(world.complaint is None, world.complaint or "")
    require(len(world.attacked) == len(world.eps_values), "You did not call the attack at every eps.")
    require((robust[1:] <= robust[:-1] + 1e-6).all(), "Robust accuracy rises with eps. " + COMEBACK)
    harmless = World(learner.generator, comebacks=False)
    harmless.correct = harmless.correct[:, :1].expand_as(harmless.correct).clone()
    robust, success = harmless.ask(learner)
    clean = harmless.correct[:, 0].float().mean().expand_as(robust)
    expect_close(
        robust,
        clean,
        "Under an attack that changes no prediction, robust is not the clean accuracy.",
        name="robust",
    )
    expect_close(
        success,
        torch.zeros_like(success),
        "An attack that changes no prediction has a success rate above 0.",
        name="success",
    )
