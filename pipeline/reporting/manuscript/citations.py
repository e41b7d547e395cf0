"""What each method is, in a sentence that holds under all of its settings, and the works that a methods paragraph cites."""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """A method as a manuscript names it."""

    name: str
    what: str
    """A sentence or two: what is learnt, and what the score is."""
    works: tuple[str, ...]
    """Names of WORKS."""


WORKS = {
    "esad": "Huang C, Ye F, Zhao P, and others. ESAD: End-to-end semi-supervised anomaly detection. British Machine Vision "
    "Conference, 2021. arXiv:2012.04905.",
    "cae": "Masci J, Meier U, Cireşan D, Schmidhuber J. Stacked convolutional auto-encoders for hierarchical feature extraction. "
    "International Conference on Artificial Neural Networks, 2011.",
    "deep_sad": "Ruff L, Vandermeulen RA, Görnitz N, and others. Deep semi-supervised anomaly detection. International Conference "
    "on Learning Representations, 2020.",
    "deep_svdd": "Ruff L, Vandermeulen RA, Görnitz N, and others. Deep one-class classification. International Conference on "
    "Machine Learning, 2018.",
    "ss_dgm": "Kingma DP, Rezende DJ, Mohamed S, Welling M. Semi-supervised learning with deep generative models. Advances in "
    "Neural Information Processing Systems, 2014.",
    "oc_svm": "Schölkopf B, Platt JC, Shawe-Taylor J, Smola AJ, Williamson RC. Estimating the support of a high-dimensional "
    "distribution. Neural Computation 13, 2001.",
    "isolation_forest": "Liu FT, Ting KM, Zhou Z-H. Isolation forest. IEEE International Conference on Data Mining, 2008.",
    "ssad": "Görnitz N, Kloft M, Rieck K, Brefeld U. Toward supervised anomaly detection. Journal of Artificial Intelligence "
    "Research 46, 2013.",
    "dgeo": "Golan I, El-Yaniv R. Deep anomaly detection using geometric transformations. Advances in Neural Information "
    "Processing Systems, 2018.",
    "dif": "Ouardini K, Yang H, Unnikrishnan B, and others. Towards practical unsupervised anomaly detection on retinal images. "
    "Lecture Notes in Computer Science 11795, 2019.",
    "dpa": "Shvetsova N, Bakker B, Fedulova I, Schulz H, Dylov DV. Anomaly detection in medical imaging with deep perceptual "
    "autoencoders. IEEE Access 9, 2021.",
    "tlsad": "Feng and others. Learning discriminative features for semi-supervised anomaly detection. IEEE International "
    "Conference on Acoustics, Speech and Signal Processing, 2021.",
    "ganomaly": "Akcay S, Atapour-Abarghouei A, Breckon TP. GANomaly: semi-supervised anomaly detection via adversarial training. "
    "Asian Conference on Computer Vision, 2018.",
    "anogan": "Schlegl T, Seeböck P, Waldstein SM, Schmidt-Erfurth U, Langs G. Unsupervised anomaly detection with generative "
    "adversarial networks to guide marker discovery. Information Processing in Medical Imaging, 2017.",
    "f_anogan": "Schlegl T, Seeböck P, Waldstein SM, Langs G, Schmidt-Erfurth U. f-AnoGAN: fast unsupervised anomaly detection "
    "with generative adversarial networks. Medical Image Analysis 54, 2019.",
    "alocc": "Sabokrou M, Khalooei M, Fathy M, Adeli E. Adversarially learned one-class classifier for novelty detection. IEEE "
    "Conference on Computer Vision and Pattern Recognition, 2018.",
    "adgan": "Deecke L, Vandermeulen R, Ruff L, Mandt S, Kloft M. Image anomaly detection with generative adversarial networks. "
    "European Conference on Machine Learning, 2018.",
    "ocgan": "Perera P, Nallapati R, Xiang B. OCGAN: one-class novelty detection using GANs with constrained latent "
    "representations. IEEE Conference on Computer Vision and Pattern Recognition, 2019.",
    "p_kdgan": "Zhang Z, Chen S, Sun L. P-KDGAN: progressive knowledge distillation with GANs for one-class novelty detection. "
    "International Joint Conference on Artificial Intelligence, 2020.",
    "piad": "Tuluptceva N, Bakker B, Fedulova I, Konushin A. Perceptual image anomaly detection. Asian Conference on Pattern "
    "Recognition, 2019.",
    "daol": "Tang Y-X, and others. Deep adversarial one-class learning for normal and abnormal chest radiograph classification. "
    "SPIE Medical Imaging, 2019.",
    "efficientnet": "Tan M, Le QV. EfficientNet: rethinking model scaling for convolutional neural networks. International "
    "Conference on Machine Learning, 2019.",
    "vahadane": "Vahadane A, Peng T, Sethi A, and others. Structure-preserving color normalization and sparse stain separation for "
    "histological images. IEEE Transactions on Medical Imaging 35, 2016.",
    "conformal": "Bates S, Candès E, Lei L, Romano Y, Sesia M. Testing for outliers with conformal p-values. Annals of Statistics "
    "51, 2023.",
    "delong": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating "
    "characteristic curves: a nonparametric approach. Biometrics 44, 1988.",
    "obuchowski": "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 53, 1997.",
    "discoveries": "Benjamini Y, Hochberg Y. Controlling the false discovery rate: a practical and powerful approach to multiple "
    "testing. Journal of the Royal Statistical Society B 57, 1995.",
    "gradients": "Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. International Conference on Machine "
    "Learning, 2017.",
}  # fmt: skip

ABOUT = {
    "esad": About(
        "ESAD",
        "An encoder and a decoder reconstruct each item. Training makes the error of reconstruction and the squared norm of a code "
        "small for unlabelled items; labelled anomalies are to be reconstructed as a changed copy of themselves, with a large norm.",
        ("esad",),
    ),
    "cae": About(
        "a plain autoencoder",
        "It reconstructs the unlabelled items; the score is its error of reconstruction.",
        ("cae",),
    ),
    "deep_sad": About(
        "Deep SAD",
        "An encoder draws the codes of unlabelled items to a fixed centre and pushes those of labelled anomalies away from it; the "
        "score is the squared distance to the centre.",
        ("deep_sad",),
    ),
    "deep_svdd": About(
        "Deep SVDD",
        "An encoder draws the codes of unlabelled items to a fixed centre; the score follows from the squared distance to it.",
        ("deep_svdd",),
    ),
    "supervised": About(
        "a supervised classifier",
        "An encoder and a linear layer learn by binary cross-entropy to tell labelled anomalies from all other training items; the "
        "score is the logit.",
        (),
    ),
    "ss_dgm": About(
        "SS-DGM (model M2)",
        "A generative model of items and their class learns from labelled and unlabelled items; the score is its classifier's logit.",
        ("ss_dgm",),
    ),
    "oc_svm": About(
        "a one-class support vector machine",
        "It is fitted with a Gaussian kernel to the training items without labelled anomalies; the score is minus its decision "
        "function.",
        ("oc_svm",),
    ),
    "isolation_forest": About(
        "an isolation forest",
        "It is fitted to the training items without labelled anomalies; the score is the higher, the fewer splits isolate an item.",
        ("isolation_forest",),
    ),
    "ssad": About(
        "SSAD, in its convex form",
        "A one-class support vector machine with a Gaussian kernel learns from unlabelled and labelled items.",
        ("ssad",),
    ),
    "dgeo": About(
        "DGEO",
        "A wide residual network learns which of 72 geometric transforms a picture underwent; the less sure it is of an item, the "
        "higher the score.",
        ("dgeo",),
    ),
    "dif": About(
        "DIF",
        "An isolation forest is fitted to what a frozen EfficientNet-Lite0, trained on ImageNet, sees in the unlabelled pictures.",
        ("dif", "isolation_forest", "efficientnet"),
    ),
    "dpa": About(
        "DPA",
        "An autoencoder is trained and judged by the relative difference that a frozen EfficientNet-Lite0, trained on ImageNet, sees "
        "between a picture and its reconstruction.",
        ("dpa", "efficientnet"),
    ),
    "tlsad": About(
        "TLSAD",
        "An encoder learns from a frozen EfficientNet-Lite0, trained on ImageNet, and draws codes of normal items to a centre; the "
        "score is the squared distance to it.",
        ("tlsad", "efficientnet"),
    ),
    "ganomaly": About(
        "GANomaly",
        "An encoder, a decoder and a second encoder are trained against a discriminator; the score is the squared distance of both "
        "codes.",
        ("ganomaly",),
    ),
    "anogan": About(
        "AnoGAN",
        "A generator learns to make normal pictures of random codes, against a discriminator; the score is how much an item differs "
        "from the picture that is made for it.",
        ("anogan",),
    ),
    "alocc": About(
        "ALOCC",
        "A network that takes noise away and a discriminator are trained against each other; the score is minus the discriminator's "
        "logit of an item's reconstruction.",
        ("alocc",),
    ),
    "adgan": About(
        "ADGAN",
        "A generator is trained in a Wasserstein game; the score is the squared error of the picture that a search for an item ends "
        "with, the mean over its starts.",
        ("adgan",),
    ),
    "ocgan": About(
        "OCGAN",
        "An autoencoder with bounded codes is trained against discriminators of codes and pictures; the score is its squared error of "
        "reconstruction.",
        ("ocgan",),
    ),
    "p_kdgan": About(
        "P-KDGAN",
        "A large GANomaly is trained, then a small one learns from it as long, then both go on for a third of that at a tenth of the "
        "learning rate; the score is the squared distance of the small one's two codes.",
        ("p_kdgan", "ganomaly"),
    ),
    "piad": About(
        "PIAD",
        "An encoder and a decoder are trained against Wasserstein critics of pictures and of codes; the score is the error of "
        "reconstruction.",
        ("piad",),
    ),
    "daol": About(
        "DAOL",
        "A generator with an encoder at each end is trained with three adversarial objectives; the score is an error of reconstruction "
        "of pixels and of a discriminator's features.",
        ("daol",),
    ),
}  # fmt: skip


class References:
    """The works that a text cites, numbered in the order in which they come."""

    def __init__(self) -> None:
        self.cited: list[str] = []

    def __call__(self, *works: str) -> str:
        """` [1, 2]` for names of WORKS or whole citations; an empty text for none."""
        whole = [WORKS.get(work, work) for work in works]
        self.cited += [work for work in whole if work not in self.cited]
        numbers = sorted(self.cited.index(work) + 1 for work in whole)
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""
