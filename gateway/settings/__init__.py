"""What operators say: flags, environment and files become one Config, or every problem at once. Pure.

config     argv, environment, files --> Config            table     the settings: names, defaults, meanings, and how each is read
openid_settings, ldap_config, sts_settings                          the ways in
backends_file                                                       MINIO_GW_BACKENDS: buckets on several backends
"""
