# How the tuned models of the suite flowers-tiny embed the test images, as in Fig. 13 of GPS
# (arXiv:2312.10136): to be run after it, in the same folder. Its picture is tsne.png.
title = 't-SNE of the tuned models of flowers-tiny'
measure = dict(
    function='gps_seg.bench.experiments.embeddings:rows',
    cases=dict(seed_0=dict(suite='flowers-tiny', seed=0)),
)
