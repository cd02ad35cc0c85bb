"""From a method and examples to weights. `fit` is the loop, on one page; beside it are what it learns from (`batches`),
what it is told (`config`, `devices`, `signals`) and what of that is planned (`plan`, `look`, `timing`), what it is
judged by (`validation`), keeps (`keeping`, `checkpoint`, `weights`, `log`) and shows (`progress`).

Lives above `evaluation`, knows no method by name, and is the only room that imports Lightning."""
