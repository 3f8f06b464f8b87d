"""Explanations that are checked against what is known: a network that looks at known places, clips that are known, planted labels."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from spokendigits.classifier import Classifier, create
from spokendigits.clips import make_clips
from spokendigits.corpora import fsdd
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.evaluation import mistakes, predict
from spokendigits.intervals import accuracy
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.topics import explain
from spokendigits.training import train

NARROW = {"sample_rate": 8000, "window": 512, "hop": 256, "f_max": 4000.0}  # all that FSDD has


@pytest.fixture(scope="module")
def trained(fsdd_root, tmp_path_factory):
    """A small classifier of real recordings, its clips, corpus and split, and its predictions for the held-out part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(tmp_path_factory.mktemp("home")))
        corpus = fsdd.read(fsdd_root).part(takes=10)
        small = {"backbone": "test_resnet.r160_in1k", "weights": "none", "takes": None, "n_mels": 32}
        changes = {"epochs": 6, "batch_size": 16, "learning_rate": 0.003}
        recipe = Recipe.preset("fast").but(**small, **changes, **NARROW)
        clips = make_clips(corpus, recipe, progress=False)
        parts = split(corpus, "random", 5, 0)
        classifier = train(recipe, corpus, clips, parts, tmp_path_factory.mktemp("run"), progress=False).cpu()
        table = predict(classifier, clips, corpus, parts.validation, progress=False)
    assert 0.7 < accuracy(table) < 1, "the tests below need a classifier that has learned, and some mistakes"
    return classifier, clips, corpus, parts, table


class Windows(nn.Module):
    """A backbone whose evidence for digit k is brightness at one of `positions`, the map's row and column for each digit."""

    feature_info = [{"module": "stage", "reduction": 4, "num_chs": 10}]

    def __init__(self, shape: tuple[int, int], positions: list[tuple[int, int]]):
        super().__init__()
        seen = torch.zeros(1, 10, *shape)
        for digit, (row, column) in enumerate(positions):
            seen[0, digit, row, column] = 1
        brightness = nn.Conv2d(1, 10, 3, stride=4, padding=1)
        nn.init.constant_(brightness.weight, 1 / 9)
        nn.init.constant_(brightness.bias, 100.0)  # decibels: above 0 wherever there is more than silence
        self.stage = nn.Sequential(brightness, nn.ReLU(), Seen(seen))
        self.fc = nn.Linear(10, 10)
        nn.init.eye_(self.fc.weight)

    def forward(self, picture):
        return self.fc(self.stage(picture).flatten(2).mean(dim=2))


class Seen(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, maps):
        return maps * self.mask


@pytest.fixture
def windows(recipe):
    """The classifier with windows, noise to look at, and the position of each digit's window."""
    height, width = recipe.n_mels // 4, -(-recipe.frames // 4)
    positions = [(height * (1 + 2 * (digit // 5)) // 4, width * (1 + 2 * (digit % 5)) // 10) for digit in range(10)]
    audio = torch.randn(10, recipe.samples, generator=torch.Generator().manual_seed(0)) / 10
    return Classifier(recipe, Windows((height, width), positions)), audio, positions


def energy(classifier, audio, digits):
    """What a map would be that ignores the network: the picture itself."""
    with torch.no_grad():
        picture = classifier.frontend(torch.as_tensor(audio))[:, 0].numpy()
    return (picture - picture.min()) / np.ptp(picture)


class TestGradCam:
    def test_points_to_where_the_evidence_for_the_digit_asked_about_is_and_nowhere_else(self, windows):
        classifier, audio, positions = windows
        maps = explain.grad_cam(classifier, audio, torch.arange(10))
        assert maps.shape == (10, classifier.recipe.n_mels, classifier.recipe.frames) and maps.dtype == np.float32
        for cam, (row, column) in zip(maps, positions, strict=True):
            assert cam[4 * row, 4 * column] == cam.max() == 1
            cam[4 * row - 3 : 4 * row + 4, 4 * column - 3 : 4 * column + 4] = 0
            assert cam.max() == 0
        nn.init.constant_(classifier.backbone.fc.weight, -1.0)
        assert not explain.grad_cam(classifier, audio[:1], np.array([4])).any(), "without evidence it is empty"

    @pytest.mark.parametrize("backbone", ["resnet10t", "resnet50", "mobilenetv3_small_100"])
    def test_works_for_the_backbones_of_the_course_and_leaves_them_as_they_were(self, backbone, recipe):
        classifier = create(recipe.but(backbone=backbone))
        classifier.backbone.train()
        classifier.frontend.eval()
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        audio = np.random.default_rng(0).integers(-9000, 9000, (2, recipe.samples)).astype(np.int16)
        with torch.inference_mode():  # as the course's notebooks do
            maps = explain.grad_cam(classifier, audio, pd.Series([3, 8], index=[7, 7]))
        assert maps.shape == (2, recipe.n_mels, recipe.frames) and maps.min() >= 0 and maps.max() <= 1
        assert classifier.backbone.training and not classifier.frontend.training
        assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in classifier.parameters())

    @pytest.mark.parametrize(("changes", "step"), [({"n_mels": 64}, 16), ({}, 8), ({"n_mels": 64, "hop": 128}, 32)])
    def test_takes_the_last_stage_that_has_positions_enough(self, changes, step, recipe):
        """A map peaks at positions, which lie as many pixels apart as the stage is coarse."""
        classifier = create(recipe.but(backbone="resnet10t", **changes))
        audio = np.random.default_rng(0).integers(-9000, 9000, (20, recipe.samples)).astype(np.int16)
        maps = explain.grad_cam(classifier, audio, np.arange(20) % 10)
        assert np.gcd.reduce([np.unravel_index(cam.argmax(), cam.shape) for cam in maps], axis=None) == step

    def test_a_backbone_without_pictures_says_so(self, windows):
        classifier, audio, _ = windows
        classifier.backbone.stage = nn.Sequential(classifier.backbone.stage, nn.Flatten(2))
        with pytest.raises(CourseError, match="convolutional backbone"):
            explain.grad_cam(classifier, audio, torch.arange(10))

    def test_what_it_marks_counts(self, trained):
        """With the marked places blotted out, a real network's answer suffers more than with others blotted out."""
        classifier, clips, _, _, table = trained
        right = table[table["digit"] == table["predicted"]]
        digits = torch.from_numpy(right["digit"].to_numpy().copy())
        audio = clips.read(right["clip"].to_numpy())
        with torch.no_grad():
            picture = classifier.frontend(torch.from_numpy(audio))
        maps = torch.from_numpy(explain.grad_cam(classifier, audio, digits))

        def answer(marked: torch.Tensor | None) -> float:
            shown = picture
            if marked is not None:
                fifth = marked.flatten(1).argsort(dim=1)[:, -marked[0].numel() // 5 :]
                mean = picture.mean(dim=(1, 2, 3))[:, None].expand(-1, fifth.shape[1])
                shown = picture.flatten(1).scatter(1, fifth, mean).view_as(picture)
            with torch.no_grad():
                return classifier.backbone(shown)[torch.arange(len(digits)), digits].mean().item()

        elsewhere = maps.roll(maps.shape[2] // 2, dims=2)
        assert answer(None) - answer(maps) > 1.3 * (answer(None) - answer(elsewhere))


class TestSanity:
    def test_maps_change_with_the_weights_and_one_that_ignores_the_network_is_found_out(self, trained):
        classifier, clips, _, _, table = trained
        audio, digits = clips.read(table["clip"].to_numpy()[:16]), table["predicted"][:16]
        state = torch.get_rng_state()
        found = explain.cam_sanity(classifier, audio, digits)
        assert (found["correlation"].iloc[1:].abs() < 0.5).all(), found
        assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers stay as they were"
        pd.testing.assert_frame_equal(found, explain.cam_sanity(classifier, audio, digits))
        found = explain.cam_sanity(classifier, audio, digits, cam=energy)
        assert (found["correlation"] > 0.99).all()

    def test_parts_lose_what_they_learned_one_after_another(self, trained):
        classifier, *_ = trained
        own, states = {name: value.clone() for name, value in classifier.backbone.state_dict().items()}, []

        def flat(changed, audio, digits):
            states.append({name: value.clone() for name, value in changed.backbone.state_dict().items()})
            return np.ones((len(digits), 4, 4))

        sanity = explain.cam_sanity(classifier, np.zeros((1, 9)), np.array([0]), cam=flat)
        assert (sanity["correlation"] == 0).all(), "a map without any order correlates with nothing"
        lost = [{name.split(".")[0] for name in own if not torch.equal(own[name], state[name])} for state in states]
        assert [len(names) for names in lost] == list(range(8)), "each one more than before, until all are lost"
        assert all(stage in names for stage, names in zip(sanity["stage"], lost[1:], strict=True))
        last = explain.randomised(classifier).backbone.state_dict()
        assert all(torch.equal(value, states[-1][name]) for name, value in last.items())
        assert all(torch.equal(value, own[name]) for name, value in classifier.backbone.state_dict().items())

    def test_parts_of_one_shape_get_weights_of_their_own(self, recipe):
        """Drawn from one seed, parts alike would be copies of each other, and "random" maps alike for that reason."""
        twins = Classifier(recipe, nn.Sequential(nn.Linear(60, 60), nn.Linear(60, 60)))
        drawn = [explain.randomised(twins, seed).backbone[part].weight for seed in (0, 1) for part in (0, 1)]
        alike = torch.corrcoef(torch.stack([weights.detach().flatten() for weights in drawn]))
        assert (alike - torch.eye(4)).abs().max() < 0.1


class TestEmbeddings:
    def test_are_the_features_before_the_last_layer_in_the_order_asked_for(self, trained):
        classifier, clips, corpus, *_ = trained
        rows = np.array([400, 3, 77, 3])
        classifier.train()
        found = explain.embeddings(classifier, clips, corpus, rows, batch_size=3, progress=False)
        assert classifier.training, "the mode is given back"
        classifier.eval()
        assert found.dtype == np.float32 and np.allclose(found[1], found[3], atol=1e-4)
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(clips.read(rows)))
            assert torch.allclose(classifier.backbone.fc(torch.from_numpy(found)), logits, atol=1e-3)
        none = explain.embeddings(classifier, clips, corpus, rows[:0], progress=False)
        assert none.shape == (0, found.shape[1])

    def test_nearest_agrees_with_cosines_by_hand(self):
        random = np.random.default_rng(0)
        held_out, training = random.normal(size=(4, 6)), random.normal(size=(9, 6))
        places, distances = explain.nearest(held_out, training, 3)
        for one, near, far in zip(held_out, places, distances, strict=True):
            cosine = training @ one / np.linalg.norm(training, axis=1) / np.linalg.norm(one)
            assert list(near) == list(np.argsort(-cosine)[:3]) and np.allclose(far, 1 - cosine[near])
        assert explain.nearest(held_out[:0], training)[0].shape == (0, 3)
        with pytest.raises(CourseError, match="Ask for fewer"):
            explain.nearest(held_out, training[:2])

    def test_neighbours_tell_a_wrong_label_and_no_clip_speaks_for_itself(self):
        random = np.random.default_rng(0)
        digits = np.repeat(np.arange(10), 30)
        embedded = np.eye(10, 20)[digits] + 0.1 * random.normal(size=(300, 20))
        labels = digits.copy()
        labels[[3, 50, 299]] = 7, 0, 1
        said = explain.by_neighbours(embedded, labels, k=10)
        assert np.allclose(said.sum(axis=1), 1) and (said.argmax(axis=1) == digits).all()
        assert said[[3, 50, 299], [7, 0, 1]].max() < 0.15, "its own wrong label has no weight"
        # Nearer ones count more: by hand, in a plane.
        angles = np.radians([0, 10, 20, 40])
        plane = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        near, far = 1 - np.cos(angles[1:3])
        expected = np.array([far, near]) / (near + far)
        assert np.allclose(explain.by_neighbours(plane, np.array([5, 1, 2, 3]), k=2)[0, 1:3], expected)
        # Copies of a clip lie at no distance, and one of them may be found in its own place.
        copies = explain.by_neighbours(np.ones((30, 4)), np.arange(30) % 10, k=5)
        assert np.isfinite(copies).all() and np.allclose(copies.sum(axis=1), 1)
        with pytest.raises(CourseError, match="4 clips have no 4 neighbours each"):
            explain.by_neighbours(plane, np.arange(4), k=4)

    def test_the_map_keeps_together_what_points_the_same_way(self):
        random = np.random.default_rng(0)
        centres = np.repeat(np.eye(3, 20), 15, axis=0)
        vectors = centres + 0.05 * random.normal(size=(45, 20))
        points = explain.embedding_map(vectors)
        apart = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(45, np.inf))
        assert (apart.argmin(axis=1) // 15 == np.arange(45) // 15).all()
        assert np.array_equal(points, explain.embedding_map(vectors * 2.0 ** random.integers(-5, 5, (45, 1))))
        assert explain.embedding_map(vectors[:5]).shape == (5, 2)
        with pytest.raises(CourseError, match="5 or more"):
            explain.embedding_map(vectors[:4])


@pytest.fixture(scope="module")
def word_pictures(fsdd_root, tmp_path_factory):
    """All of FSDD as one vector a clip, its mel picture stretched to one length, and the corpus: for a quick classifier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(tmp_path_factory.mktemp("home")))
        corpus = fsdd.read(fsdd_root)
        recipe = Recipe.preset("fast").but(**NARROW, n_mels=32, weights="none", backbone="resnet10t")
        clips = make_clips(corpus, recipe, progress=False)
        frontend = create(recipe).frontend
        frames = np.ceil(clips.lengths.clip(max=recipe.samples) / recipe.hop).astype(int).clip(2)
        with torch.inference_mode():
            pictures = frontend(torch.from_numpy(clips.read(np.arange(len(corpus)))))
            words = [
                F.interpolate(picture[None, ..., :length], (24, 12), mode="bilinear", antialias=True).flatten()
                for picture, length in zip(pictures, frames, strict=True)
            ]
    words = torch.stack(words)
    return (words - words.mean(dim=1, keepdim=True)).numpy(), corpus


def out_of_sample(words: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """A predictions table of a quick classifier, each row predicted by a fold that did not train on it."""
    quick = make_pipeline(StandardScaler(), PCA(40, random_state=0), QuadraticDiscriminantAnalysis(reg_param=0.1))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    chances = cross_val_predict(quick, words, table["digit"], cv=folds, method="predict_proba")
    out = table.assign(clip=np.arange(len(table)), predicted=chances.argmax(axis=1))
    out[PROBABILITIES] = chances / chances.sum(axis=1, keepdims=True)
    return out


class TestLabels:
    def test_planted_errors_and_the_reported_ones_of_fsdd_come_first(self, word_pictures):
        words, corpus = word_pictures
        random = np.random.default_rng(0)
        table, planted = corpus.table.copy(), random.choice(len(corpus), 20, replace=False)
        truth = table["digit"].copy()
        table.loc[planted, "digit"] = (truth[planted] + random.integers(1, 10, 20)) % 10
        found = explain.label_candidates(out_of_sample(words, table))
        assert list(found["rank"]) == list(range(1, len(table) + 1)) and found["quality"].is_monotonic_increasing
        rank, suggested = found.set_index("clip")["rank"], found.set_index("clip")["suggested"]
        assert (rank[planted] <= 20).sum() >= 13 and (rank[planted] <= 60).sum() >= 18
        assert (suggested[planted] == truth[planted]).mean() >= 0.9
        assert (found["suggested"] != found["digit"]).all(), "a suggestion is another digit"
        ranks = explain.reported_ranks(found)
        assert list(ranks.index) == list(explain.REPORTED)
        assert (ranks <= 100).all(), ranks
        paths = found.set_index("rank")["path"]
        assert [paths[rank].split("/")[-1] for rank in ranks] == [f"{name}.wav" for name in explain.REPORTED]
        ranks = explain.reported_ranks(found[~found["path"].str.contains("6_nicolas_8.wav")])
        assert ranks.isna().tolist() == [False, False, True]

    def test_what_a_table_can_show_is_checked(self, trained):
        *_, table = trained
        for wrong, said in (
            (table.assign(digit=np.roll(table["digit"], 13)), r"agree with only \d+% of the labels"),
            (pd.concat([table, table.iloc[[5]]]), f"1 clip.* occur twice, {table['path'][5]}"),
            (table.drop(columns="p3"), "lacks p3"),
            (table.assign(p3=np.nan), "no numbers"),
        ):
            with pytest.raises(CourseError, match=said):
                explain.label_candidates(wrong)
        some = table[~table["digit"].isin([0, 9])]  # a digit may be missing
        assert list(explain.label_candidates(some)["clip"].sort_values()) == list(some["clip"].sort_values())


def test_figures_say_what_they_show(windows, trained):
    def alt(fig) -> str:
        return fig._repr_mimebundle_()["text/plain"]

    *_, table = trained
    random = np.random.default_rng(0)
    shown = alt(explain.draw_map(random.normal(size=(len(table), 2)), table, "Test"))
    assert f"{len(mistakes(table))} misread clips are ringed" in shown
    grouped = table["digit"].to_numpy()[:, None] * 100 + random.normal(size=(len(table), 2))
    assert "100% lie next to a clip of the same digit" in alt(explain.draw_map(grouped, table, "Test"))
    classifier, audio, positions = windows
    with torch.no_grad():
        pictures = classifier.frontend(audio[:2])[:, 0].numpy()
    trained = explain.grad_cam(classifier, audio[:2], torch.tensor([0, 7]))
    maps = {"trained": trained, "random": np.zeros_like(pictures)}
    row, column = positions[7]
    place = f"{4 * column * classifier.recipe.hop / classifier.recipe.sample_rate:.2f} s, mel bin {4 * row}"
    shown = alt(explain.draw_cams(pictures, maps, ["one", "two"], classifier.recipe, ""))
    assert f"two (trained: strongest at {place}, random: nothing)" in shown
    check = pd.DataFrame({"stage": ["fc", "conv1"], "correlation": [0.4, -0.1]})
    shown = alt(explain.draw_cam_sanity({"Grad-CAM": check}))
    assert "Grad-CAM: 0.40 after the last part, -0.10 after all" in shown
