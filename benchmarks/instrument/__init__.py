"""The instrument: environments, evaluation, episodes, the KL of policies, and values that are not finite."""
