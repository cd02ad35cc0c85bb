"""How good a distribution over label maps is: pure functions, and a shell that accumulates them over a data set."""

from plurimask.metrics.calibration import (
    NUM_BINS,
    CalibrationBins,
    LogLikelihood,
    calibration_bins,
    log_likelihood,
    rater_votes,
)
from plurimask.metrics.distance import joint_distances, judged, mean_of_pairs, pairwise_distance, rater_distance
from plurimask.metrics.energy_distance import (
    EnergyDistance,
    ImageDistances,
    energy_distance,
    energy_distances,
    image_distances,
)
from plurimask.metrics.error_detection import (
    ErrorHistogram,
    ErrorHistograms,
    PixelUncertainty,
    class_spread,
    error_histogram,
)
from plurimask.metrics.hungarian import hungarian_iou
from plurimask.metrics.image import ImageEvaluation, ImageScores, evaluate_image, evaluate_images
from plurimask.metrics.overlap import ClassOverlap, Overlap, class_overlap, overlap
from plurimask.metrics.pooled import ByClass, SegmentationMetrics, Totals
from plurimask.metrics.reconstruction import ReconstructionIoU, reconstruction_iou
from plurimask.metrics.sparsification import Sparsification, sparsification
from plurimask.metrics.uncertainty import (
    ImageUncertainty,
    ObjectScore,
    expected_dice,
    image_uncertainty,
    mean_entropy,
    object_scores,
)

CONVENTIONS = (
    "d = 1 - IoU. IoU counts the classes in counted_classes (background is left out): it is the mean over those that "
    "are in at least one of the two maps, and 1 (d = 0) if none is. Per image only pixels that every present rater "
    "judged count, for samples and raters alike; a rater whose map is wholly ignored is absent; images without a "
    "common pixel are left out of the means and counted in num_undefined. ged = 2 E d(S,Y) - E d(S,S') - E d(Y,Y') as "
    "a V-statistic (pairs of a map with itself are counted); ged_unbiased leaves them out (U-statistic); ged_oracle = "
    "mu (1/n + 1/m) is what n independent draws from the distribution of the m raters score in expectation, mu = "
    "rater_diversity. diversity and rater_diversity: mean d over pairs of different samples and of different raters. "
    "hungarian_iou: samples and raters are repeated to their least common multiple and matched one to one. dice and "
    "iou: the most likely classes of the mean probabilities against each present rater, mean over raters, then over "
    "images; median_dice: median over images. class_iou and class_dice: of each class, the background too, with all "
    "pairs of a judged pixel and a rater of the data set pooled before they are divided; mean_class_iou and "
    "mean_class_dice: mean over the counted_classes that are in any map. ece: 15 equal-width bins of the mean "
    "probability against the raters' frequency, pixels pooled over the data set, mean over counted_classes. nll: nats "
    "per judged pixel and rater of the mean probabilities, pooled. expected_dice: mean Dice over pairs of different "
    "samples, the quality that the prediction itself expects. mean_entropy: nats per pixel of the mean probabilities. "
    "error_auroc: the probability that a wrong label (the most likely class of the mean probabilities is not the "
    "rater's) has a higher entropy than a right one, over all pairs of a judged pixel and a rater, pooled, in 1024 "
    "bins of the entropy; error_auroc_information and error_auroc_spread: the same by the mutual information, and by "
    "the mean over all classes of the standard deviation of their probability over the draws. ause: area between the "
    "share of wrong labels among those left when 0 to 99 % with the highest entropy are removed, and the same where "
    "the wrong ones are removed first, both divided by the share of all. reconstruction_iou: IoU between a rater's "
    "map and the map decoded from the means of the posterior that has seen it, mean over raters, then over images; "
    "reconstruction_iou_marked: only maps that mark a counted class in a pixel that counts. subset_b: images on which "
    "at least two raters are present and each marked a counted class. Where classes flip at random, the raters are "
    "all modes with their exact probabilities: expectations over raters are weighted by these, ged_oracle = mu / n, "
    "hungarian_iou is an optimal transport from samples of equal weight, reconstructions are of the annotator's own "
    "map, only the classes that flip and their twins are counted_classes, and images of which the annotator marked "
    "none of them are left out. null: the figure does not exist (ged_unbiased, ged_oracle and rater_diversity need "
    "two raters, expected_dice two samples, error_auroc a wrong and a right label, ause a wrong one, both an "
    "uncertainty that is not zero everywhere, reconstruction_iou a method with a posterior, class_iou a class that is "
    "in some map)."
)
"""What the figures mean, in words: stored beside them."""

__all__ = [
    "CONVENTIONS",
    "NUM_BINS",
    "ByClass",
    "CalibrationBins",
    "ClassOverlap",
    "EnergyDistance",
    "ErrorHistogram",
    "ErrorHistograms",
    "ImageDistances",
    "ImageEvaluation",
    "ImageScores",
    "ImageUncertainty",
    "LogLikelihood",
    "ObjectScore",
    "Overlap",
    "PixelUncertainty",
    "ReconstructionIoU",
    "SegmentationMetrics",
    "Sparsification",
    "Totals",
    "calibration_bins",
    "class_overlap",
    "class_spread",
    "energy_distance",
    "energy_distances",
    "error_histogram",
    "evaluate_image",
    "evaluate_images",
    "expected_dice",
    "hungarian_iou",
    "image_distances",
    "image_uncertainty",
    "joint_distances",
    "judged",
    "log_likelihood",
    "mean_entropy",
    "mean_of_pairs",
    "object_scores",
    "overlap",
    "pairwise_distance",
    "rater_distance",
    "rater_votes",
    "reconstruction_iou",
    "sparsification",
]
