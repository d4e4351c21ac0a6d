"""The default weights of Knownface: data only, see manifest.json."""
