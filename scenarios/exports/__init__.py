"""A run's figures for other programs: TensorBoard, Gephi and its like, Prometheus."""
