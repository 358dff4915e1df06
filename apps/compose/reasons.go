package compose

// instead are keys for which something else holds for every app, so that nothing of what they are for is lost.
func instead() map[string]string {
	return map[string]string{
		"container_name": "an app's container is called after the app, and reached by nobody by its name",
		"hostname":       "the host name in the container is the name of the app",
		"networks":       "an app has a network of its own, with its addons and nobody else in it",
		"logging":        "what an app writes is kept by the host, 30 MB at most: platformctl app logs",
		"log_driver":     "what an app writes is kept by the host, 30 MB at most: platformctl app logs",
		"log_opt":        "what an app writes is kept by the host, 30 MB at most: platformctl app logs",
		"pull_policy":    "an image is fetched when the app is installed or updated, and then known by its digest",
		"attach":         "logs are read with platformctl app logs",
	}
}

// reasons are keys that a manifest cannot express, with the reason and the remedy.
func reasons() map[string]string {
	const cluster = "is not used by a single host"
	const kernel = "an app cannot change settings of the kernel; set it for the whole host (sysctl) where it has to be"
	const namespace = "an app has namespaces of its own and shares none with the host or with others"
	const device = "an app sees no devices of the host"
	const files = "files beside the compose file are not read; put the value under environment, or generate one: secrets: [{name: key}] and ${secret.key}"
	const weight = "processor time is bounded, not weighted; write cpus"
	const writes = "disk writes are not weighted"
	return map[string]string{
		"annotations": "annotations are for other programs", "blkio_config": writes, "cgroup": namespace, "cgroup_parent": namespace, "configs": files,
		"build":     "an image is not built from a folder here; build and push it elsewhere and name it under image, or describe it by Debian packages in the manifest's build",
		"cpu_count": "is for Windows", "cpu_percent": "is for Windows", "isolation": "is for Windows", "credential_spec": "is for Windows",
		"cpu_period": weight, "cpu_quota": weight, "cpu_rt_period": weight, "cpu_rt_runtime": weight, "cpu_shares": weight, "cpuset": weight,
		"develop": "is for developing", "device_cgroup_rules": device, "devices": device, "gpus": device,
		"dns": "an app asks the resolver of this host", "dns_opt": "an app asks the resolver of this host", "dns_search": "an app asks the resolver of this host",
		"domainname":     "an app is reached by its --domain; ${domain} in its environment stands for it",
		"env_file":       "variables of another file; give its content under environment",
		"external_links": "an app reaches no containers but its addons", "volumes_from": "an app shares its folders with nobody",
		"extra_hosts": "an app has no names of its own for addresses, and does not reach the host; use names that DNS knows",
		"group_add":   "an app has one user and one group; write user: UID:GID", "ipc": namespace, "pid": namespace, "userns_mode": namespace, "uts": namespace, "net": namespace,
		"labels": "labels are for other programs, such as a proxy that is set up by them; the route is made of --domain", "label_file": "labels are for other programs",
		"mac_address": "addresses are given by the host", "mem_reservation": "memory is bounded, not reserved; write mem_limit", "models": cluster, "provider": cluster,
		"oom_kill_disable": "an app over its memory limit is always ended", "oom_score_adj": "an app over its memory limit is always ended",
		"platform":  "the image must be for this machine",
		"pre_start": "hooks are not run; do it in the command, or with platformctl app exec", "post_start": "hooks are not run; do it in the command, or with platformctl app exec",
		"pre_stop": "hooks are not run; do it in the command, or with platformctl app exec",
		"profiles": "a service is imported or not; choose it with --service", "runtime": "every app has the engine's own runtime", "secrets": files,
		"storage_opt": "sizes of containers are not bounded; their root file system is read-only", "sysctls": kernel, "umask": "the image's own holds",
		"stdin_open": "an app has no terminal; platformctl app exec gives one", "tty": "an app has no terminal; platformctl app exec gives one",
		"use_api_socket": "an app never gets the socket of the container engine, which is as good as root on the host",
		"volume_driver":  "data is in a folder of the host", "working_dir": "the image's own holds; name programs by their whole path in command",
		"dockerfile": "an image is not built from a folder here; name one under image", "pull_refresh_after": "an image changes only by platformctl app update",
		"extends": "what another service says is taken over; nothing of it is kept as a reference",
	}
}
