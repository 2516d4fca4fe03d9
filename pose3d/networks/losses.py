"""What a network is punished for: wrong heat, and wrong offsets near the points."""

from pose3d.networks.engine import tf


def pose_loss(heat_logits, locref, targets, *, locref_weight: float = 1.0):
    """Return the loss of a batch, one number.

    Binary cross entropy of the heat, summed over cells and divided by what is to be found: a
    mean over cells would vanish as points are rare. Huber loss of the locrefs over their disks.

    Parameters
    ----------
    heat_logits : tensor of shape (batch_size, height, width, n_keypoints)
        The network's scoremaps, before the sigmoid.
    locref : tensor of shape (batch_size, height, width, 2 * n_keypoints)
        The network's locrefs, in cells.
    targets : Targets
        What they should be, as tensors.
    locref_weight : float
        Weight of the locrefs against the heat.
    """
    heat, heat_weight, wanted, disk = targets
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=heat, logits=heat_logits)
    # both sums may be zero: a batch of rare keypoints can have none of them
    heat_loss = tf.reduce_sum(cross_entropy * heat_weight) / (tf.reduce_sum(heat * heat_weight) + 1)
    error = tf.abs(tf.reshape(locref, tf.shape(wanted)) - wanted)
    huber = tf.where(error < 1, 0.5 * error**2, error - 0.5)
    locref_loss = tf.reduce_sum(huber * disk) / (tf.reduce_sum(disk) + 1)
    return heat_loss + locref_weight * locref_loss
