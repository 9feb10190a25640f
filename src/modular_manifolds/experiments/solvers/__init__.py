"""Does an exact direction matter? Solvers of Stiefel x spectral, from rough to exact, in one and the same training."""
