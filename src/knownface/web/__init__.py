"""The web page: templates rendered here, small ES modules that call the admin API, no build."""
