"""A scikit-learn training script: a linear model learns the handwritten digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

CLASSES = np.arange(10)


def classifier():
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05)


def batches_of(images, labels, size=32):
    """(training batches, held-out batches): every fifth example is held out."""
    images, held = images / 16, np.arange(len(labels)) % 5 == 0
    x, y = images[~held], labels[~held]
    train = [(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]
    return train, [(images[held], labels[held])]


def train(model, batches):
    """One epoch."""
    for x, y in batches:
        model.partial_fit(x, y, classes=CLASSES)


def evaluate(model, batches):
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    return {"loss": log_loss(y, model.predict_proba(x), labels=CLASSES), "accuracy": model.score(x, y)}


def main():
    train_batches, test_batches = batches_of(*load_digits(return_X_y=True))
    model = classifier()
    for epoch in range(10):
        train(model, train_batches)
        print(epoch + 1, evaluate(model, test_batches))


if __name__ == "__main__":
    main()
