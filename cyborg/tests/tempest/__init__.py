"""cyborg-tempest-plugin's tests, in a cloud started for them."""
