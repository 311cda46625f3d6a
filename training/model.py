"""The source model: one hyperprior codec that serves several rates by per-rate tables.

    y  = block(x) + fine(x)                  block: linear 24x24 transform of stride 16, started at the KLT
    yg = y * gain[rate]                      the gain is the only thing that sets the step size
    z  = round(hyper_analysis(yg))           stride 64, static prior per rate and channel
    f  = hyper_synthesis(z)                  bit-exact part, feeds the entropy coder
    q  = round(yg - mean(f))
    s  = context(f, q of earlier groups)     log scale; 1x1 and channel-causal, so each latent position decodes alone
    x' = block^T(y') + fine_synthesis(y')    y' = (q + mean) / gain

Each layer in front of an (inverse) GDN has one gain per rate and channel (`log_shape`), which lets one network lean
towards each rate, and towards MS-SSIM for the rates that are tuned for it. These gains are positive: free signs let
groups of rates settle on opposite signs of a whole branch, which then serves neither.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

SCALE_MIN, SCALE_MAX, SCALE_LEVELS = 0.11, 256.0, 64
LOG_STEP = (math.log(SCALE_MAX) - math.log(SCALE_MIN)) / (SCALE_LEVELS - 1)
GROUPS = (8, 8, 16, 16, 16, 32, 32, 64, 96)  # latents in the order of coding
HIDDEN = 32  # context units per group and layer
SLOPE = 0.125
BLOCK, STRIDE, OVERLAP = 24, 16, 4
FINE_UNIT = 5.7  # unit of the fine branch's latents
BITS_PER_SQUARE = 18.0  # what the encoder takes a squared error of one step to be worth


def signed_root(x):
    """sign(x)(sqrt(|x|+1/4)-1/2): linear near 0; sqrt and + are exactly rounded everywhere."""
    return torch.sign(x) * (torch.sqrt(x.abs() + 0.25) - 0.5)


def straight_round(x):
    """Rounds forward, identity backward."""
    return x + (torch.round(x) - x).detach()


class Floor(torch.autograd.Function):
    """max(x, floor) whose gradient still pulls x up from below."""

    @staticmethod
    def forward(ctx, x, floor):
        ctx.save_for_backward(x)
        ctx.floor = floor
        return x.clamp_min(floor)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.floor) | (grad < 0)), None


class Gdn(nn.Module):
    """x / (beta + gamma |x|), or times it; beta and gamma are squares of the parameters."""

    def __init__(self, channels, inverse):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.full((channels, channels), 0.01) + torch.eye(channels) * (math.sqrt(0.1) - 0.01))

    def forward(self, x):
        norm = F.conv2d(x.abs(), (self.gamma**2)[:, :, None, None], self.beta**2 + 1e-6)
        return x * norm if self.inverse else x / norm


def halve(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 5, 2, 2)


def double(inputs, outputs):
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1)


class Analysis(nn.Module):
    """The fine branch of the encoder: 8x8/4, 5x5/2, 5x5/2 with GDN between."""

    def __init__(self, width, latents, rates):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, width, 8, 4, 2), halve(width, width), halve(width, latents)])
        self.gdns = nn.ModuleList([Gdn(width, False), Gdn(width, False)])
        self.log_shape = nn.ParameterList([nn.Parameter(torch.zeros(rates, width)) for _ in range(2)])

    def forward(self, x, rate):
        for conv, gdn, shape in zip(self.convs, self.gdns, self.log_shape):
            x = conv(x)
            x = gdn(x * torch.exp(shape[rate])[:, :, None, None].to(x.dtype))  # mixed types are slow
        return x


class Synthesis(nn.Module):
    """The fine branch of the decoder: four 5x5 transposed convolutions with inverse GDN between."""

    def __init__(self, latents, widths, rates):
        super().__init__()
        ends = [latents, *widths, 3]
        self.convs = nn.ModuleList([double(a, b) for a, b in zip(ends, ends[1:])])
        self.gdns = nn.ModuleList([Gdn(w, True) for w in widths])
        self.log_shape = nn.ParameterList([nn.Parameter(torch.zeros(rates, w)) for w in widths])

    def forward(self, x, rate):
        for conv, gdn, shape in zip(self.convs, self.gdns, self.log_shape):
            x = conv(x)
            x = gdn(x * torch.exp(shape[rate])[:, :, None, None].to(x.dtype))  # mixed types are slow
        return self.convs[-1](x)


class Context(nn.Module):
    """Log scale of group k from the hyper features and the symbols of groups before k, by masked 1x1 layers."""

    def __init__(self, features, sizes, units):
        super().__init__()
        groups, latents = len(sizes), sum(sizes)
        hidden = units * groups
        self.layers = nn.ModuleList(
            [nn.Conv2d(features + latents, hidden, 1), nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, latents, 1)]
        )
        of_latent = torch.repeat_interleave(torch.arange(groups), torch.tensor(sizes))
        of_hidden = torch.arange(hidden) // units
        of_input = torch.cat([torch.full((features,), -1), of_latent])
        masks = [
            of_hidden[:, None] > of_input[None],
            of_hidden[:, None] >= of_hidden[None],
            of_latent[:, None] >= of_hidden[None],
        ]
        for index, mask in enumerate(masks):
            self.register_buffer(f"mask{index}", mask.float()[:, :, None, None], persistent=False)

    def forward(self, features, symbols):
        x = torch.cat([features, signed_root(symbols)], 1)
        for index, layer in enumerate(self.layers):
            x = F.conv2d(x, layer.weight * getattr(self, f"mask{index}"), layer.bias)
            if index < 2:
                x = F.leaky_relu(x, SLOPE)
        return x


class Prior(nn.Module):
    """Static prior of z: a mixture of three logistics per rate and channel."""

    def __init__(self, rates, channels, parts=3):
        super().__init__()
        self.mean = nn.Parameter(torch.linspace(-0.6, 0.6, parts).repeat(rates, channels, 1))
        self.sharpness = nn.Parameter(torch.ones(rates, channels, parts))
        self.weight = nn.Parameter(torch.zeros(rates, channels, parts))

    def probability(self, z, rate):
        mean = self.mean[rate][:, :, None, None]
        sharpness = torch.exp(-self.sharpness[rate].clamp(-4, 6))[:, :, None, None]
        weight = F.softmax(self.weight[rate], -1)[:, :, None, None]
        distance = z[..., None] - mean
        side = -torch.sign(distance.detach())  # the side without cancellation
        upper, lower = (torch.sigmoid(side * (distance + half) * sharpness) for half in (0.5, -0.5))
        return ((upper - lower).abs() * weight).sum(-1).clamp_min(1e-9)


def gaussian_probability(value, scale):
    value = value.abs()
    cdf = lambda t: 0.5 * torch.erfc(-t * 2**-0.5)
    return (cdf((0.5 - value) / scale) - cdf((-0.5 - value) / scale)).clamp_min(1e-9)


class Codec(nn.Module):
    """`targets` lists, per rate, what it is tuned for: ("mse" or "ms-ssim", weight of the distortion)."""

    def __init__(self, targets, width=96, latents=288, hyper=64, features=96, widths=(96, 96, 32), groups=GROUPS, hidden=HIDDEN):
        super().__init__()
        assert sum(groups) == latents
        self.config = dict(targets=targets, width=width, latents=latents, hyper=hyper, features=features)
        self.config |= dict(widths=list(widths), groups=list(groups), hidden=hidden)
        rates, leaky = len(targets), nn.LeakyReLU(SLOPE)
        self.fine_analysis = Analysis(width, latents, rates)
        self.fine_synthesis = Synthesis(latents, widths, rates)
        self.block_analysis = nn.Conv2d(3, latents, BLOCK, STRIDE, OVERLAP)
        self.block_synthesis = nn.ConvTranspose2d(latents, 3, BLOCK, STRIDE, OVERLAP)
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(latents, hyper, 3, 1, 1), leaky, halve(hyper, hyper), leaky, halve(hyper, hyper)
        )
        self.hyper_synthesis = nn.Sequential(double(hyper, hyper), leaky, double(hyper, features), leaky)
        self.mean = nn.Conv2d(features, latents, 1)
        self.context = Context(features, groups, hidden)
        self.prior = Prior(rates, hyper)
        self.log_gain = nn.Parameter(torch.zeros(rates, latents))
        self.mean_unit = nn.Parameter(torch.ones(rates, latents))
        self.log_scale_bias = nn.Parameter(torch.zeros(rates, latents))
        self.log_synthesis_unit = nn.Parameter(torch.zeros(rates, latents))
        self.synthesis_bias = nn.Parameter(torch.zeros(rates, latents))
        self.register_buffer("conceal", torch.zeros(rates, latents))  # share of the neighbours' mean in a lost symbol
        self.start()

    def start(self):
        """Weights that keep the variance, and a fine branch that starts small beside the block transform."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                fan = module.in_channels * module.kernel_size[0] ** 2
                fan /= 4 if isinstance(module, nn.ConvTranspose2d) else 1
                nn.init.normal_(module.weight, 0, fan**-0.5)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for weight, factor in (
                (self.fine_analysis.convs[0].weight, 4),
                (self.fine_analysis.convs[-1].weight, 0.05),
                (self.fine_synthesis.convs[-1].weight, 0.05),
                (self.mean.weight, 0.1),
                (self.context.layers[-1].weight, 0.2),
                (self.hyper_analysis[-1].weight, 0.35),
            ):
                weight.mul_(factor)

    @torch.no_grad()
    def start_at_klt(self, patches):
        """patches: n x 3 x 16 x 16 minus 1/2. Block transform = their KLT; gain = the rate-optimal step, step^2 = 18/(lambda ln 2)."""
        flat = patches.flatten(1).double()
        energy, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        latents = self.config["latents"]
        energy, vectors = energy.flip(0)[:latents], vectors.flip(1)[:, :latents].float()
        inner = slice(OVERLAP, OVERLAP + STRIDE)
        for layer in (self.block_analysis, self.block_synthesis):
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[:, :, inner, inner] = vectors.T.reshape(-1, 3, STRIDE, STRIDE)
        self.block_synthesis.bias.fill_(0.5)
        for rate, (_, weight) in enumerate(self.config["targets"]):
            weight = min(weight, 0.1) if weight < 1 else 0.002
            gain = 255 / math.sqrt(18 / (weight * math.log(2)))
            spread = (energy.clamp_min(0).sqrt() * gain).float()
            self.log_gain[rate] = math.log(gain)
            self.mean_unit[rate] = spread.clamp(0.2, 64)
            self.log_scale_bias[rate] = (spread * 0.5).clamp(0.15, 64).log()

    def per_rate(self, table, rate):
        return table[rate][:, :, None, None]

    def analyse(self, x, rate):
        """Latents times the gain of their rate (one rate index per picture)."""
        fine = self.fine_analysis(x - 0.5, rate)
        with torch.autocast(x.device.type, enabled=False):
            y = self.block_analysis(x - 0.5) + self.fine_analysis.convs[-1](fine.float()) / FINE_UNIT
            return y * torch.exp(self.per_rate(self.log_gain, rate))

    def log_scale(self, features, symbols, rate):
        raw = self.context(features, symbols) + self.per_rate(self.log_scale_bias, rate)
        return Floor.apply(raw, math.log(SCALE_MIN)).clamp_max(math.log(SCALE_MAX))

    def blocks(self, y):
        """block_synthesis(y) as a matrix product and a fold (much faster than the direct 24x24 layer)."""
        patches = torch.matmul(self.block_synthesis.weight.flatten(1).t(), y.flatten(2)).float()
        size = (STRIDE * y.shape[2], STRIDE * y.shape[3])
        return F.fold(patches, size, BLOCK, padding=OVERLAP, stride=STRIDE) + self.block_synthesis.bias.view(1, -1, 1, 1)

    def synthesise(self, symbols, mean, rate):
        y = (symbols + mean) * torch.exp(-self.per_rate(self.log_gain, rate))
        unit = torch.exp(self.per_rate(self.log_synthesis_unit, rate))
        t = signed_root(y * FINE_UNIT) * unit + self.per_rate(self.synthesis_bias, rate)
        with torch.autocast(symbols.device.type, enabled=False):
            coarse = self.blocks(y)
        return coarse + self.fine_synthesis(t, rate) * 0.1

    def forward(self, x, rate, tables=False):
        """Picture, bits of y and bits of z per pixel. `tables`: count bits as the shipped integer tables would."""
        yg = self.analyse(x, rate)
        with torch.autocast(x.device.type, enabled=False):
            z = self.hyper_analysis(signed_root(yg))
            z_hat = straight_round(z) if self.training else torch.round(z)
            z_rate = z + torch.rand_like(z) - 0.5 if self.training else z_hat
            features = self.hyper_synthesis(z_hat)
            mean = self.mean(features) * self.per_rate(self.mean_unit, rate)
            residual = yg - mean
            if self.training:  # the distortion sees rounding, the rate sees uniform noise
                symbols = straight_round(residual)
                counted = residual + torch.rand_like(residual) - 0.5
                log_scale = self.log_scale(features, counted.detach(), rate)
            else:
                symbols = counted = torch.round(residual)
                log_scale = self.log_scale(features, symbols, rate)
            if tables:
                low = math.log(SCALE_MIN)
                log_scale = torch.round((log_scale - low) / LOG_STEP) * LOG_STEP + low
            p_y = gaussian_probability(counted, torch.exp(log_scale))
            p_z = self.prior.probability(z_rate, rate)
            if tables:  # 16-bit tables: every symbol has at least one count
                p_y, p_z = ((1 - 2**-14) * p + 2**-16 for p in (p_y, p_z))
            pixels = x.shape[2] * x.shape[3]
            bits_y, bits_z = (-torch.log2(p).sum((1, 2, 3)) / pixels for p in (p_y, p_z))
        return self.synthesise(symbols, mean, rate), bits_y, bits_z

    @torch.no_grad()
    def sent(self, residual, features, rate):
        """The symbols that the encoder sends: the nearest whole number, the one below it or 0, whichever costs least."""
        symbols, magnitude, first = torch.zeros_like(residual), residual.abs(), 0
        nearest = torch.round(magnitude)
        for size in self.config["groups"]:
            group = slice(first, first + size)
            scale = torch.exp(self.log_scale(features, symbols, rate)[:, group])
            choices = torch.stack([nearest[:, group], (nearest[:, group] - 1).clamp_min(0), torch.zeros_like(scale)])
            bits = -torch.log2(gaussian_probability(choices, scale) + 2**-16)
            best = (BITS_PER_SQUARE * (magnitude[:, group] - choices) ** 2 + bits).argmin(0, keepdim=True)
            symbols[:, group] = choices.gather(0, best)[0] * torch.sign(residual[:, group])
            first += size
        return symbols

    def settle(self, x, rate):
        """As forward, but of the symbols that are really sent: the encoder stays, the decoder learns what comes to it."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            yg = self.analyse(x, rate)
            z = torch.round(self.hyper_analysis(signed_root(yg)))
            features = self.hyper_synthesis(z)
            mean = self.mean(features) * self.per_rate(self.mean_unit, rate)
            symbols = self.sent(yg - mean, features, rate)
        with torch.autocast(x.device.type, enabled=False):
            scale = torch.exp(self.log_scale(features, symbols, rate))
            pixels = x.shape[2] * x.shape[3]
            bits_y = -torch.log2(gaussian_probability(symbols, scale) + 2**-16).sum((1, 2, 3)) / pixels
            bits_z = -torch.log2(self.prior.probability(z, rate)).sum((1, 2, 3)) / pixels
        return self.synthesise(symbols, mean, rate), bits_y, bits_z

    @torch.no_grad()
    def fit_concealment(self, x):
        """conceal[rate, c] = regression of a symbol on the mean of its eight neighbours (corners count half)."""
        kernel = torch.tensor([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]], device=x.device)[None, None]
        for rate in range(len(self.config["targets"])):
            index = torch.full((len(x),), rate, device=x.device)
            yg = self.analyse(x, index)
            features = self.hyper_synthesis(torch.round(self.hyper_analysis(signed_root(yg))))
            q = torch.round(yg - self.mean(features) * self.per_rate(self.mean_unit, index))
            total = F.conv2d(q.flatten(0, 1)[:, None], kernel, padding=1).view_as(q)
            weight = F.conv2d(torch.ones_like(q[:1, :1]), kernel, padding=1)
            near = total / weight
            cross, power = (q * near).sum((0, 2, 3)), (near * near).sum((0, 2, 3))
            self.conceal[rate] = (cross / power.clamp_min(1e-3)).clamp(0, 1) * (power > 1)


def ms_ssim(a, b):
    """RGB MS-SSIM of pictures in 0..1, one value per picture: 11x11 Gaussian of sigma 1.5, five scales, 2x2 mean pooling."""
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    channels = a.shape[1]
    window = torch.exp(-((torch.arange(11, device=a.device) - 5.0) ** 2) / 4.5)
    window = (window / window.sum()).repeat(channels, 1, 1, 1)
    blur = lambda t: F.conv2d(F.conv2d(t, window, groups=channels), window.transpose(2, 3), groups=channels)
    result = 1.0
    for scale, weight in enumerate(weights):
        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
        value = (2 * cov + 9e-4) / (var_a + var_b + 9e-4)
        if scale == 4:
            value = value * (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        result = result * value.mean((2, 3)).clamp_min(1e-6) ** weight
        odd = (a.shape[2] % 2, a.shape[3] % 2)
        a, b = F.avg_pool2d(a, 2, padding=odd), F.avg_pool2d(b, 2, padding=odd)
    return result.mean(1)
