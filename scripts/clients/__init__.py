"""The client matrix: the programs and libraries that people have, each driven at a gateway, feature by feature."""
