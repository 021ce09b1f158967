"""Wrong answers that learners really give in lesson 05, the message each must get, and right answers of other shapes."""

from sparring_grader.checks import Alternative, Mistake

MISTAKES = [
    Mistake(
        exercise="init_mlp",
        name="variance_taken_for_deviation",
        message="You used 2 / fan_in as the standard deviation",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.randn(m, n, generator=generator) * 2 / n, torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="forgets_the_relu",
        message="The variance is 1 / fan_in",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.randn(m, n, generator=generator) / math.sqrt(n), torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="ignores_the_generator",
        message="Two calls with equal generators gave different weights",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.randn(m, n) * math.sqrt(2 / n), torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="seeds_the_generator_itself",
        message="Another generator gave the same weights",
        source="""
def init_mlp(sizes, generator):
    generator.manual_seed(0)
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.randn(m, n, generator=generator) * math.sqrt(2 / n), torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="rand_instead_of_randn",
        message="The mean of the weights is not 0",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.rand(m, n, generator=generator) * math.sqrt(2 / n), torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="shape_swapped",
        message="You swapped fan_in and fan_out",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        params.append((torch.randn(n, m, generator=generator) * math.sqrt(2 / n), torch.zeros(m)))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="random_biases",
        message="Some bias is not zero",
        source="""
def init_mlp(sizes, generator):
    params = []
    for n, m in zip(sizes, sizes[1:]):
        scale = math.sqrt(2 / n)
        params.append((torch.randn(m, n, generator=generator) * scale, torch.randn(m, generator=generator) * scale))
    return params
""",
    ),
    Mistake(
        exercise="init_mlp",
        name="all_units_equal",
        message="All weights of a layer are equal",
        source="""
def init_mlp(sizes, generator):
    return [(torch.full((m, n), math.sqrt(2 / n)), torch.zeros(m)) for n, m in zip(sizes, sizes[1:])]
""",
    ),
    Mistake(
        exercise="mlp_logits",
        name="relu_on_the_output",
        message="You put a ReLU on the output",
        source="""
def mlp_logits(params, x):
    h = x.flatten(1)
    for W, b in params:
        h = torch.relu(h @ W.T + b)
    return h
""",
    ),
    Mistake(
        exercise="mlp_logits",
        name="softmax_twice",
        message="You returned probabilities",
        source="""
def mlp_logits(params, x):
    h = x.flatten(1)
    for i, (W, b) in enumerate(params):
        h = h @ W.T + b
        if i < len(params) - 1:
            h = h.relu()
    return h.softmax(dim=1)
""",
    ),
    Mistake(
        exercise="mlp_logits",
        name="no_relu",
        message="There is no ReLU between the layers",
        source="""
def mlp_logits(params, x):
    h = x.flatten(1)
    for W, b in params:
        h = h @ W.T + b
    return h
""",
    ),
    Mistake(
        exercise="mlp_logits",
        name="squeezes_the_batch_away",
        message="You lost the batch dimension",
        source="""
def mlp_logits(params, x):
    h = x.flatten(1)
    for i, (W, b) in enumerate(params):
        h = h @ W.T + b
        if i < len(params) - 1:
            h = h.relu()
    return h.squeeze()
""",
    ),
    Mistake(
        exercise="fgsm",
        name="no_clamp",
        message="Some pixels left [0, 1]",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return x + eps * gradient.sign()
""",
    ),
    Mistake(
        exercise="fgsm",
        name="downhill",
        message="You went downhill",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x - eps * gradient.sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="gradient_without_sign",
        message="You stepped along the gradient itself",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + eps * gradient).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="eps_in_normalized_units",
        message="eps is in the images' own units",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + eps * 0.3081 * gradient.sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="backward_leaves_gradients",
        message="You left gradients on the model's weights",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    F.cross_entropy(model(probe), y).backward()
    return (x + eps * probe.grad.sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="changes_the_mode",
        message="You changed the model's train or eval mode",
        source="""
def fgsm(model, x, y, eps):
    model.train()
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + eps * gradient.sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="in_place",
        message="You changed the caller's x in place",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    x += eps * gradient.sign()
    return x.clamp_(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="zero_taken_for_up",
        message="A pixel moved although its gradient is exactly 0",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + torch.where(gradient >= 0, eps, -eps)).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="nan_at_zero_gradient",
        message="x_adv holds NaN or infinity",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + eps * gradient / gradient.abs()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="one_perturbation_for_all",
        message="All images got one perturbation",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    return (x + eps * gradient.mean(dim=0).sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="fgsm",
        name="label_of_the_model",
        message="You climbed the loss of the predicted label",
        source="""
def fgsm(model, x, y, eps):
    probe = x.clone().requires_grad_()
    logits = model(probe)
    gradient = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(dim=1)), probe)[0]
    return (x + eps * gradient.sign()).clamp(0, 1)
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="gradient_of_the_mean",
        message="the gradient of a mean is n times too small",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(probe), y), probe)[0]
    before = F.cross_entropy(model(x), y, reduction="none")
    after = F.cross_entropy(model(x_adv), y, reduction="none")
    return (gradient * (x_adv - x)).flatten(1).sum(1), (after - before).detach()
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="gradient_at_the_wrong_end",
        message="You took the gradient at x_adv",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x_adv.clone().requires_grad_()
    after = F.cross_entropy(model(probe), y, reduction="none")
    gradient = torch.autograd.grad(after.sum(), probe)[0]
    before = F.cross_entropy(model(x), y, reduction="none")
    return (gradient * (x_adv - x)).flatten(1).sum(1), (after - before).detach()
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="rise_of_the_best_step",
        message="You computed eps times the L1 norm",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x.clone().requires_grad_()
    before = F.cross_entropy(model(probe), y, reduction="none")
    gradient = torch.autograd.grad(before.sum(), probe)[0]
    after = F.cross_entropy(model(x_adv), y, reduction="none")
    eps = (x_adv - x).abs().max()
    return eps * gradient.abs().flatten(1).sum(1), (after - before).detach()
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="one_number_for_the_batch",
        message="wrong shape of predicted: got ()",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x.clone().requires_grad_()
    before = F.cross_entropy(model(probe), y)
    gradient = torch.autograd.grad(before, probe)[0]
    after = F.cross_entropy(model(x_adv), y)
    return (gradient * (x_adv - x)).sum(), (after - before).detach()
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="rise_turned_round",
        message="The sign of the actual rise is turned round",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x.clone().requires_grad_()
    before = F.cross_entropy(model(probe), y, reduction="none")
    gradient = torch.autograd.grad(before.sum(), probe)[0]
    after = F.cross_entropy(model(x_adv), y, reduction="none")
    return (gradient * (x_adv - x)).flatten(1).sum(1), (before - after).detach()
""",
    ),
    Mistake(
        exercise="loss_rise",
        name="backward_leaves_gradients",
        message="You left gradients on the model's weights",
        source="""
def loss_rise(model, x, x_adv, y):
    probe = x.clone().requires_grad_()
    before = F.cross_entropy(model(probe), y, reduction="none")
    before.sum().backward()
    after = F.cross_entropy(model(x_adv), y, reduction="none")
    return (probe.grad * (x_adv - x)).flatten(1).sum(1), (after - before).detach()
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="robust_among_the_right",
        message="You divided the robust accuracy by the images read correctly",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    stands = model(x).argmax(1) == y
    before = stands.sum()
    robust = []
    for eps in eps_values:
        stands = stands & (model(attack(x, y, eps)).argmax(1) == y)
        robust.append(stands.sum() / before)
    robust = torch.stack(robust)
    return robust, 1 - robust
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="success_among_all",
        message="You divided the success rate by all images",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    stands = model(x).argmax(1) == y
    before = stands.sum()
    robust, success = [], []
    for eps in eps_values:
        stands = stands & (model(attack(x, y, eps)).argmax(1) == y)
        robust.append(stands.sum() / len(y))
        success.append((before - stands.sum()) / len(y))
    return torch.stack(robust), torch.stack(success)
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="credit_for_what_was_wrong_before",
        message="You gave the attack credit for images",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    stands = model(x).argmax(1) == y
    robust = []
    for eps in eps_values:
        stands = stands & (model(attack(x, y, eps)).argmax(1) == y)
        robust.append(stands.float().mean())
    robust = torch.stack(robust)
    return robust, 1 - robust
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="no_memory",
        message="counts as standing again",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    right = model(x).argmax(1) == y
    robust, success = [], []
    for eps in eps_values:
        stands = right & (model(attack(x, y, eps)).argmax(1) == y)
        robust.append(stands.float().mean())
        success.append((right & ~stands).sum() / right.sum())
    return torch.stack(robust), torch.stack(success)
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="mended_by_the_attack",
        message="because the attack happened to mend it",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    right = model(x).argmax(1) == y
    stands = torch.ones_like(right)
    robust, success = [], []
    for eps in eps_values:
        stands = stands & (model(attack(x, y, eps)).argmax(1) == y)
        robust.append(stands.float().mean())
        success.append((right & ~stands).sum() / right.sum())
    return torch.stack(robust), torch.stack(success)
""",
    ),
    Mistake(
        exercise="robust_curve",
        name="attacks_the_attacked",
        message="You attacked images that an earlier attack had changed",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    stands = model(x).argmax(1) == y
    before = stands.sum()
    robust, success = [], []
    for eps in eps_values:
        x = attack(x, y, eps)
        stands = stands & (model(x).argmax(1) == y)
        robust.append(stands.sum() / len(y))
        success.append((before - stands.sum()) / before)
    return torch.stack(robust), torch.stack(success)
""",
    ),
]

ALTERNATIVES = [
    Alternative(
        exercise="init_mlp",
        name="uniform_of_the_same_variance",
        source="""
def init_mlp(sizes, generator):
    def layer(inputs, outputs):
        bound = (6 / inputs) ** 0.5
        W = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
        return W, W.new_zeros(outputs)

    return [layer(*pair) for pair in zip(sizes[:-1], sizes[1:])]
""",
    ),
    Alternative(
        exercise="mlp_logits",
        name="functional_linear_with_index",
        source="""
def mlp_logits(params, x):
    h = x.reshape(x.shape[0], -1)
    last = len(params) - 1
    for i, (W, b) in enumerate(params):
        h = F.linear(h, W, b)
        h = h if i == last else F.relu(h)
    return h
""",
    ),
    Alternative(
        exercise="fgsm",
        name="backward_into_the_images_only",
        source="""
def fgsm(model, x, y, eps):
    probe = x.detach().clone()
    probe.requires_grad = True
    F.cross_entropy(model(probe), y).backward(inputs=[probe])
    step = torch.zeros_like(x)
    step[probe.grad > 0] = eps
    step[probe.grad < 0] = -eps
    return torch.minimum(torch.maximum(x + step, torch.zeros_like(x)), torch.ones_like(x))
""",
    ),
    Alternative(
        exercise="fgsm",
        name="image_by_image",
        source="""
def fgsm(model, x, y, eps):
    results = []
    for image, label in zip(x.detach(), y):
        probe = image[None].clone().requires_grad_()
        log_probabilities = model(probe).log_softmax(dim=1)
        (slope,) = torch.autograd.grad(-log_probabilities[0, label], probe)
        results.append((image + eps * slope[0].sign()).clip(0, 1))
    return torch.stack(results)
""",
    ),
    Alternative(
        exercise="loss_rise",
        name="jacobian_vector_product",
        source="""
def loss_rise(model, x, x_adv, y):
    def losses(images):
        return F.cross_entropy(model(images), y, reduction="none")

    before, predicted = torch.func.jvp(losses, (x,), (x_adv - x,))
    return predicted.detach(), (losses(x_adv) - before).detach()
""",
    ),
    Alternative(
        exercise="robust_curve",
        name="one_table_and_cummin",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    def right(images):
        return model(images).argmax(dim=1) == y

    table = torch.stack([right(x)] + [right(attack(x, y, eps)) for eps in eps_values])
    standing = table.int().cummin(dim=0).values.sum(dim=1)
    return standing[1:] / len(y), 1 - standing[1:] / standing[0]
""",
    ),
    Alternative(
        exercise="robust_curve",
        name="attacks_only_what_still_stands",
        source="""
def robust_curve(model, attack, x, y, eps_values):
    standing = (model(x).argmax(dim=1) == y).nonzero().flatten()
    before, counts = len(standing), []
    for eps in eps_values:
        if len(standing):
            labels = y[standing]
            held = model(attack(x[standing], labels, eps)).argmax(dim=1) == labels
            standing = standing[held]
        counts.append(len(standing))
    counts = torch.tensor(counts, dtype=torch.float32)
    return counts / len(y), (before - counts) / before
""",
    ),
]
